"""Sampling actions for many episodes at once, with a KV cache that lives as long as the episodes do.

Only tokens that the model has not seen are fed: the prompt once, then each tool answer. Every episode has
a row of its own length in the cache; tokens are written behind the row's last one and a position mask
hides what lies beyond, so padding inside a block never shows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from agents.models.policy import Policy
from agents.rollout.config import Sampling
from agents.rollout.kv_cache import RaggedCache
from agents.rollout.types import Sampled
from agents.seeding import derive

_CROWD = 7 / 8  # share of the rows that is left when the others' places are taken
_LOOK_EVERY = 8  # decoded tokens between two looks at whether every row has stopped


class _Outlook:
    """Tells whether every row has stopped, without ever making the device wait for the host.

    On a device of its own the answer is fetched every few tokens and read a few tokens later, when it has long
    arrived; the tokens sampled meanwhile are cut off.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_device = device.type == "cuda"
        self._asked: tuple[Tensor, torch.cuda.Event] | None = None

    def all_stopped(self, t: int, live: Tensor) -> bool:
        """Whether no row is `live` (n,) after t + 1 tokens, as far as is known."""
        if not self._on_device:
            return not live.any()
        if t % _LOOK_EVERY < _LOOK_EVERY - 1:
            return False
        before, self._asked = self._asked, self._ask(live)
        if before is None:
            return False
        flag, event = before
        event.synchronize()
        return not flag.item()

    def _ask(self, live: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        flag, event = torch.empty((), dtype=torch.bool, pin_memory=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
        flag.copy_(live.any(), non_blocking=True)
        event.record()
        return flag, event


class Generator:
    """Samples actions for episodes in slots.

    Args:
        policy: Its language model is read, never changed; call `clear` after its weights changed.
        context: Longest episode in tokens.
        stop_id: The token that ends an action.
        sampling: How actions are drawn.
        seed: Of the draws. A draw follows from this seed, the episode's stream (see `start`), the number of the
            action in the episode and the token's position in the action: not from the slot or from other episodes.
    """

    def __init__(self, policy: Policy, *, context: int, stop_id: int, sampling: Sampling, seed: int = 0) -> None:
        self._policy, self._context, self._stop, self._sampling = policy, context, stop_id, sampling
        self._cache_argument = _cache_argument(policy.decoder)
        self._cache = self._make_cache()
        self.seed(seed)
        self.clear()

    def seed(self, seed: int) -> None:
        """Draw from `seed` from now on, and number episodes from 0."""
        self._seed, self._begun = seed, 0

    def clear(self) -> None:
        """Forget every episode."""
        self._cache = self._make_cache()
        self._rows: list[int] = []  # slot of each cache row
        self._streams: dict[int, tuple[str | int, int]] = {}  # stream of the episode and number of its next action
        self._lengths: dict[int, int] = {}  # tokens in the cache, by slot
        self._pending: dict[int, list[int]] = {}  # tokens not yet fed, by slot

    def publish(self, version: int, *, at_once: bool = False) -> int:
        """The policy's weights are those of `version` from now on: they are read where they are, so always at once."""
        del at_once
        return version

    def close(self) -> None:
        """Nothing to release."""

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """Begin an episode with its opening tokens. See `RolloutEngine.start`."""
        self._streams[slot] = (self._begun if stream is None else stream), 0
        self._begun += 1
        self._lengths[slot] = 0
        self._pending[slot] = list(ids)

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """Add tokens that were not sampled: a tool's answer."""
        self._pending[slot].extend(ids)

    def room(self, slot: int) -> int:
        """Tokens that the episode may still grow by in the model's context; 0 or less where it is full."""
        return self._context - self._lengths[slot] - len(self._pending[slot])

    def free(self, slot: int) -> None:
        """End an episode; its row is given to the next."""
        del self._lengths[slot], self._pending[slot], self._streams[slot]

    @torch.inference_mode()
    def act(self, slots: Sequence[int]) -> list[Sampled]:
        """Sample one action for each slot, in that order."""
        ready = [slot for slot in slots if self.room(slot) > 0]
        sampled = dict(zip(ready, self._decode(ready), strict=True)) if ready else {}
        return [sampled.get(slot, Sampled([], [], stopped=False, overflow=True)) for slot in slots]

    def _longest(self, slot: int) -> int:
        """Tokens that an action of this slot may have."""
        return min(self._sampling.max_action_tokens, self.room(slot))

    def _make_cache(self) -> RaggedCache:
        """A cache without rows."""
        return RaggedCache()

    def _decode(self, slots: list[int]) -> list[Sampled]:
        self._acting = slots
        hidden = self._prefill(slots)
        device = hidden.device
        rooms = [self._longest(slot) for slot in slots]
        longest, base = max(rooms), max(self._lengths[slot] for slot in slots)
        uniforms = self._uniforms(slots, longest)
        drawn, scores = self._draw(hidden, uniforms[:, 0])
        limits = torch.tensor(rooms, device=device)
        lengths = torch.tensor([self._lengths[slot] for slot in slots], device=device)
        ids = torch.full((len(slots), longest), self._stop, dtype=torch.long, device=device)
        log_probs = torch.zeros((len(slots), longest), dtype=torch.float64, device=device)
        live = torch.ones(len(slots), dtype=torch.bool, device=device)
        counts = torch.zeros_like(limits)
        outlook, rows = _Outlook(device), None
        for t in range(longest):
            if t:
                drawn, scores = self._next(drawn, lengths + counts - 1, base + t, rows, uniforms[:, t])
            ids[:, t], log_probs[:, t] = drawn, scores
            counts += live
            live &= (drawn != self._stop) & (counts < limits)
            if outlook.all_stopped(t, live):
                break
            rows = self._close_up(rows, live)
        return self._collect(slots, ids, log_probs, counts)

    def _next(
        self, drawn: Tensor, positions: Tensor, width: int, rows: Tensor | None, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Feed the tokens drawn last (n,) at their positions (n,), all below `width`; draw again with `uniforms` (n,).

        `rows` (m,) are those to feed, in the order of the cache's rows; all where it is `None`. The others have
        stopped: what comes back for them means nothing.
        """
        if rows is None:
            return self._draw(self._feed(drawn[:, None], positions[:, None], width)[:, 0], uniforms)
        hidden = self._feed(drawn[rows, None], positions[rows, None], width)[:, 0]
        ids, log_probs = self._draw(hidden, uniforms[rows])
        return drawn.index_copy(0, rows, ids), log_probs.new_zeros(len(drawn)).index_copy(0, rows, log_probs)

    def _close_up(self, rows: Tensor | None, live: Tensor) -> Tensor | None:
        """Which rows to feed from now on: see `_next`. Once some have stopped, the others take the first places.

        On a CPU only: on other devices a step costs much the same for fewer rows, and the host does not know who stops.
        """
        if live.device.type != "cpu":
            return None
        fed = torch.arange(len(live)) if rows is None else rows
        going = live[fed]
        left = int(going.sum())
        if left > _CROWD * len(fed):
            return rows
        gaps, late = (~going[:left]).nonzero()[:, 0], going[left:].nonzero()[:, 0] + left
        if len(gaps):
            self._cache.swap(gaps, late)
        for gap, other in zip(gaps.tolist(), late.tolist(), strict=True):
            self._rows[gap], self._rows[other] = self._rows[other], self._rows[gap]
        return fed.index_copy(0, gaps, fed[late])[:left]

    def _collect(self, slots: list[int], ids: Tensor, log_probs: Tensor, counts: Tensor) -> list[Sampled]:
        """Cut each row at its end; its last token was sampled but not fed, so it is still pending."""
        rows = zip(slots, ids.tolist(), log_probs.tolist(), counts.tolist(), strict=True)
        results = []
        for slot, tokens, scores, count in rows:
            self._lengths[slot] += count - 1
            self._pending[slot] = [tokens[count - 1]]
            results.append(Sampled(tokens[:count], scores[:count], stopped=tokens[count - 1] == self._stop))
        return results

    def _arrange(self, slots: Sequence[int], models: Mapping[int, int] | None = None) -> None:
        """Bring the rows of `slots` to the front, drop those of ended episodes.

        Args:
            slots: Those that act.
            models: Slots whose rows others are copies of, by the others.
        """
        held = {slot: row for row, slot in enumerate(self._rows)}
        acting = set(slots)
        order = [*slots, *(slot for slot in self._rows if slot in self._lengths and slot not in acting)]
        # A new episode's row may hold anything: it is all masked.
        rows = [held.get(models.get(slot, slot) if models else slot, 0) for slot in order]
        if rows != list(range(len(self._rows))):
            self._cache.arrange(rows)
        self._rows = order

    def _prefill(self, slots: list[int]) -> Tensor:
        """Feed what each slot has not seen: hidden state of its last token (n, h).

        Of episodes that begin with the same prompt, as those of a group do, one reads it; the others take its row.
        """
        models = self._models(slots)
        readers = [slot for slot in slots if models[slot] == slot]
        if self._policy.device.type == "cpu":  # where padding costs more than moving rows
            readers.sort(key=lambda slot: len(self._pending[slot]))
        self._arrange(readers)
        places = {slot: place for place, slot in enumerate(readers)}
        pieces, first = [], 0
        for piece in self._pieces(readers):
            pieces.append(self._read(piece, first))
            first += len(piece)
        self._arrange(slots, models)
        for slot in slots:
            self._lengths[slot] += len(self._pending[slot])
            self._pending[slot] = []
        order = torch.tensor([places[models[slot]] for slot in slots], device=self._policy.device)
        return torch.cat(pieces)[order]

    def _models(self, slots: list[int]) -> dict[int, int]:
        """The slot that reads for each: itself, or the first that begins with the same prompt."""
        first: dict[tuple[int, ...], int] = {}
        return {
            slot: slot if self._lengths[slot] else first.setdefault(tuple(self._pending[slot]), slot) for slot in slots
        }

    def _pieces(self, slots: list[int]) -> Iterator[list[int]]:
        """Neighbours that are fed together."""
        most = _block_tokens(self._policy.device)
        piece: list[int] = []
        for slot in slots:
            longest = max(len(self._pending[each]) for each in [*piece, slot])
            if piece and (len(piece) + 1) * longest > most:
                yield piece
                piece = []
            piece.append(slot)
        yield piece

    def _read(self, slots: list[int], first: int) -> Tensor:
        """Feed what some slots have not seen, whose rows begin at `first`: hidden state of their last token (n, h)."""
        pending = [self._pending[slot] for slot in slots]
        counts = [len(ids) for ids in pending]
        device = self._policy.device
        rows = [torch.tensor(ids) for ids in pending]
        block = pad_sequence(rows, batch_first=True, padding_value=self._stop).to(device)
        lengths = torch.tensor([self._lengths[slot] for slot in slots], device=device)
        # Padding may reach beyond the context: it goes to the last column, whose token is never fed, so never read.
        positions = (lengths[:, None] + torch.arange(block.shape[1], device=device)).clamp(max=self._context - 1)
        width = min(max(self._lengths[slot] for slot in slots) + max(counts), self._context)
        hidden = self._feed(block, positions, width, first=first)
        return hidden[torch.arange(len(slots), device=device), torch.tensor(counts, device=device) - 1]

    def _feed(
        self, ids: Tensor, positions: Tensor, width: int, places: Tensor | None = None, *, first: int = 0
    ) -> Tensor:
        """Hidden states (n, q, h) of a block at its positions (n, q), stored there unless `places` says where.

        `first` is the row of its first row.
        """
        width = self._cache.place(positions if places is None else places, width, first)
        mask = torch.arange(width, device=ids.device) <= positions[..., None]
        output = self._policy.decoder(
            input_ids=ids,
            attention_mask=mask[:, None],
            position_ids=positions,
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        return cast(Tensor, output.last_hidden_state)

    def _uniforms(self, slots: Sequence[int], count: int) -> Tensor:
        """The uniform number in [0, 1) of every slot's next action and token position (n, count), in float64.

        Philox is counter-based: a position's number does not depend on how many are drawn.
        """
        numbers = np.zeros((len(slots), count))
        if self._sampling.temperature:
            for row, slot in zip(numbers, slots, strict=True):
                np.random.Generator(np.random.Philox(key=self._action_seed(slot))).random(out=row)
        for slot in slots:
            stream, action = self._streams[slot]
            self._streams[slot] = stream, action + 1
        return torch.from_numpy(numbers).to(self._policy.device)

    def _action_seed(self, slot: int) -> int:
        """The seed of a slot's next action, at least 0."""
        return action_seed(self._seed, *self._streams[slot])

    def _draw(self, hidden: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token for each row with its uniform number (n,): ids (n,), log-probabilities (n,).

        The inverse of the distribution function, so that two computations of the logits that differ by rounding
        differ in a draw about as seldom as the rounding is small. Temperature 0 needs no numbers. Nothing in here
        waits for the device.
        """
        logits = self._policy.output_layer(hidden)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self._sampling.temperature == 0:
            ids = logits.argmax(-1)
            return ids, logits.log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
        log_probs = (logits / self._sampling.temperature).log_softmax(-1)
        ids = _inverse(_nucleus(log_probs, self._sampling.top_p).exp(), uniforms)
        return ids, log_probs.gather(-1, ids[:, None]).squeeze(-1)


def action_seed(seed: int, stream: str | int, action: int) -> int:
    """The seed of the draws of one action of one episode, below 2**31. All engines use it."""
    return derive(seed, "action", stream, action)


def _inverse(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The token (n,) whose share of the summed `weights` (n, vocabulary) holds each uniform number (n,).

    A token of weight 0 is never taken. Sums are in float64: single precision would cut off rare tokens.
    """
    sums = weights.cumsum(-1, dtype=torch.float64)
    ids = torch.searchsorted(sums, (uniforms * sums[:, -1])[:, None], right=True).squeeze(-1)
    return ids.clamp(max=weights.shape[-1] - 1)


def _block_tokens(device: torch.device) -> int:
    """Padded tokens that are read at a time: few on a CPU, where padding costs more than another pass."""
    return 1024 if device.type == "cpu" else 16384


def _cache_argument(decoder: nn.Module) -> str:
    """What a decoder calls its cache: Transformers renamed it in 5.24."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"


def _nucleus(log_probs: Tensor, top_p: float) -> Tensor:
    """Minus infinity outside the smallest set of tokens that holds `top_p`; the first token always stays."""
    if top_p >= 1:
        return log_probs
    ordered, order = log_probs.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    return log_probs.scatter(-1, order, ordered.masked_fill(before >= top_p, float("-inf")))
