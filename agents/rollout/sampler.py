"""Batched sampling of actions with a KV cache that persists over the steps of the episodes.

Only new tokens are fed: the prompt once, then each observation. Every episode has a cache row of its own length; tokens
are written after the row's last one, and a position mask hides the rest, so padding has no effect.
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

_COMPACT_SHARE = 7 / 8  # share of live rows at which the stopped rows are dropped from the batch
_STOP_INTERVAL = 8  # decoded tokens between two stop checks on a GPU


class _StopCheck:
    """Check that every row has stopped, without device synchronization.

    On a GPU the flag is copied every few tokens and read a few tokens later; the tokens sampled in between are cut off.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_device = device.type == "cuda"
        self._asked: tuple[Tensor, torch.cuda.Event] | None = None

    def all_stopped(self, t: int, live: Tensor) -> bool:
        """Return true if no row is known to be `live` (n,) after t + 1 tokens."""
        if not self._on_device:
            return not live.any()
        if t % _STOP_INTERVAL < _STOP_INTERVAL - 1:
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


class TokenSampler:
    """Rollout engine in this process. See `RolloutEngine`.

    Args:
        policy: Policy whose language model samples. Call `clear` after its weights have changed.
        context: Context length in tokens.
        stop_id: Token that ends an action.
        sampling: Maximum length of an action.
        temperature: Divisor of the logits; 0 takes the most probable token.
        seed: Random seed. A draw depends on it, the episode's stream (see `start`), the index of the action and the
            token's position in the action: not on the slot or on other episodes.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        context: int,
        stop_id: int,
        sampling: Sampling,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._temperature = temperature
        self._policy, self._context, self._stop, self._sampling = policy, context, stop_id, sampling
        self._cache_argument = _cache_argument(policy.decoder)
        self._cache = self._make_cache()
        self.seed(seed)
        self.clear()

    def seed(self, seed: int) -> None:
        """See `RolloutEngine.seed`."""
        self._seed, self._begun = seed, 0

    def clear(self) -> None:
        """See `RolloutEngine.clear`."""
        self._cache = self._make_cache()
        self._rows: list[int] = []  # slot of each cache row
        self._streams: dict[int, tuple[str | int, int]] = {}  # stream of the episode and index of its next action
        self._lengths: dict[int, int] = {}  # tokens in the cache, by slot
        self._pending: dict[int, list[int]] = {}  # tokens not yet fed, by slot

    def publish(self, version: int, *, at_once: bool = False) -> int:
        """See `RolloutEngine.publish`. The engine reads the weights in place, so the version is always the newest."""
        del at_once
        return version

    def close(self) -> None:
        """See `RolloutEngine.close`."""

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """See `RolloutEngine.start`."""
        self._streams[slot] = (self._begun if stream is None else stream), 0
        self._begun += 1
        self._lengths[slot] = 0
        self._pending[slot] = list(ids)

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """See `RolloutEngine.append`."""
        self._pending[slot].extend(ids)

    def room(self, slot: int) -> int:
        """See `RolloutEngine.room`."""
        return self._context - self._lengths[slot] - len(self._pending[slot])

    def free(self, slot: int) -> None:
        """See `RolloutEngine.free`."""
        del self._lengths[slot], self._pending[slot], self._streams[slot]

    @torch.inference_mode()
    def act(self, slots: Sequence[int]) -> list[Sampled]:
        """See `RolloutEngine.act`."""
        ready = [slot for slot in slots if self.room(slot) > 0]
        sampled = dict(zip(ready, self._decode(ready), strict=True)) if ready else {}
        return [sampled.get(slot, Sampled([], [], stopped=False, overflow=True)) for slot in slots]

    def _longest(self, slot: int) -> int:
        """Return the maximum length of the slot's next action."""
        return min(self._sampling.max_action_tokens, self.room(slot))

    def _make_cache(self) -> RaggedCache:
        """Return an empty cache."""
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
        stop_check, rows = _StopCheck(device), None
        for t in range(longest):
            if t:
                drawn, scores = self._next(drawn, lengths + counts - 1, base + t, rows, uniforms[:, t])
            ids[:, t], log_probs[:, t] = drawn, scores
            counts += live
            live &= (drawn != self._stop) & (counts < limits)
            if stop_check.all_stopped(t, live):
                break
            rows = self._compact(rows, live)
        return self._collect(slots, ids, log_probs, counts)

    def _next(
        self, drawn: Tensor, positions: Tensor, width: int, rows: Tensor | None, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Feed the last tokens `drawn` (n,) at `positions` (n,), all below `width`; draw the next with `uniforms` (n,).

        `rows` (m,) are the indices of the rows to feed, in the order of the cache; `None` feeds all. Results of the
        other rows, which have stopped, are undefined.
        """
        if rows is None:
            return self._draw(self._feed(drawn[:, None], positions[:, None], width)[:, 0], uniforms)
        hidden = self._feed(drawn[rows, None], positions[rows, None], width)[:, 0]
        ids, log_probs = self._draw(hidden, uniforms[rows])
        return drawn.index_copy(0, rows, ids), log_probs.new_zeros(len(drawn)).index_copy(0, rows, log_probs)

    def _compact(self, rows: Tensor | None, live: Tensor) -> Tensor | None:
        """Return the rows to feed next, see `_next`. On a CPU, live rows move to the front once some have stopped.

        On other devices a step costs about the same for fewer rows, and the host does not know which rows stop.
        """
        if live.device.type != "cpu":
            return None
        fed = torch.arange(len(live)) if rows is None else rows
        going = live[fed]
        left = int(going.sum())
        if left > _COMPACT_SHARE * len(fed):
            return rows
        gaps, late = (~going[:left]).nonzero()[:, 0], going[left:].nonzero()[:, 0] + left
        if len(gaps):
            self._cache.swap(gaps, late)
        for gap, other in zip(gaps.tolist(), late.tolist(), strict=True):
            self._rows[gap], self._rows[other] = self._rows[other], self._rows[gap]
        return fed.index_copy(0, gaps, fed[late])[:left]

    def _collect(self, slots: list[int], ids: Tensor, log_probs: Tensor, counts: Tensor) -> list[Sampled]:
        """Cut each row at its end. The last token was sampled but not fed, so it stays pending."""
        rows = zip(slots, ids.tolist(), log_probs.tolist(), counts.tolist(), strict=True)
        results = []
        for slot, tokens, scores, count in rows:
            self._lengths[slot] += count - 1
            self._pending[slot] = [tokens[count - 1]]
            results.append(Sampled(tokens[:count], scores[:count], stopped=tokens[count - 1] == self._stop))
        return results

    def _arrange(self, slots: Sequence[int], sources: Mapping[int, int] | None = None) -> None:
        """Move the cache rows of `slots` to the front, and drop those of ended episodes.

        `sources` has the slot whose row is copied, by the slot that receives the copy.
        """
        held = {slot: row for row, slot in enumerate(self._rows)}
        acting = set(slots)
        order = [*slots, *(slot for slot in self._rows if slot in self._lengths and slot not in acting)]
        # The row of a new episode may hold any values: all of them are masked.
        rows = [held.get(sources.get(slot, slot) if sources else slot, 0) for slot in order]
        if rows != list(range(len(self._rows))):
            self._cache.arrange(rows)
        self._rows = order

    def _prefill(self, slots: list[int]) -> Tensor:
        """Feed the pending tokens of each slot. Return the hidden states of the last tokens (n, h).

        Equal prompts, as in a group, are fed once and their row is copied.
        """
        sources = self._prompt_sources(slots)
        readers = [slot for slot in slots if sources[slot] == slot]
        if self._policy.device.type == "cpu":  # there padding costs more than moving rows
            readers.sort(key=lambda slot: len(self._pending[slot]))
        self._arrange(readers)
        places = {slot: place for place, slot in enumerate(readers)}
        pieces, first = [], 0
        for piece in self._pieces(readers):
            pieces.append(self._read(piece, first))
            first += len(piece)
        self._arrange(slots, sources)
        for slot in slots:
            self._lengths[slot] += len(self._pending[slot])
            self._pending[slot] = []
        order = torch.tensor([places[sources[slot]] for slot in slots], device=self._policy.device)
        return torch.cat(pieces)[order]

    def _prompt_sources(self, slots: list[int]) -> dict[int, int]:
        """Return the slot that reads the prompt of each slot: itself, or the first with the same prompt."""
        first: dict[tuple[int, ...], int] = {}
        return {
            slot: slot if self._lengths[slot] else first.setdefault(tuple(self._pending[slot]), slot) for slot in slots
        }

    def _pieces(self, slots: list[int]) -> Iterator[list[int]]:
        """Yield groups of consecutive slots that are fed together."""
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
        """Feed the pending tokens of the rows from `first` on. Return hidden states of the last tokens (n, h)."""
        pending = [self._pending[slot] for slot in slots]
        counts = [len(ids) for ids in pending]
        device = self._policy.device
        rows = [torch.tensor(ids) for ids in pending]
        block = pad_sequence(rows, batch_first=True, padding_value=self._stop).to(device)
        lengths = torch.tensor([self._lengths[slot] for slot in slots], device=device)
        # Padding may exceed the context: it is written to the last column, whose token is never fed and never read.
        positions = (lengths[:, None] + torch.arange(block.shape[1], device=device)).clamp(max=self._context - 1)
        width = min(max(self._lengths[slot] for slot in slots) + max(counts), self._context)
        hidden = self._feed(block, positions, width, first=first)
        return hidden[torch.arange(len(slots), device=device), torch.tensor(counts, device=device) - 1]

    def _feed(
        self, ids: Tensor, positions: Tensor, width: int, places: Tensor | None = None, *, first: int = 0
    ) -> Tensor:
        """Return the hidden states (n, q, h) of a block at `positions` (n, q).

        Keys and values are stored in the columns `places`, by default `positions`, of the rows from `first` on.
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
        """Return a uniform number in [0, 1) for each token position of every slot's next action (n, count), in float64.

        Philox is counter-based: the number at a position does not depend on `count`.
        """
        numbers = np.zeros((len(slots), count))
        if self._temperature:
            for row, slot in zip(numbers, slots, strict=True):
                np.random.Generator(np.random.Philox(key=self._action_seed(slot))).random(out=row)
        for slot in slots:
            stream, action = self._streams[slot]
            self._streams[slot] = stream, action + 1
        return torch.from_numpy(numbers).to(self._policy.device)

    def _action_seed(self, slot: int) -> int:
        """Return the seed of a slot's next action, at least 0."""
        return action_seed(self._seed, *self._streams[slot])

    def _draw(self, hidden: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token per row with its uniform number (n,). Return ids (n,) and log-probabilities (n,).

        Inverse transform sampling: logits that differ by rounding give different tokens only with a probability of
        about the rounding error. Temperature 0 uses no numbers. Does not synchronize the device.
        """
        logits = self._policy.output_layer(hidden)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self._temperature == 0:
            ids = logits.argmax(-1)
            return ids, logits.log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
        log_probs = (logits / self._temperature).log_softmax(-1)
        ids = _inverse(log_probs.exp(), uniforms)
        return ids, log_probs.gather(-1, ids[:, None]).squeeze(-1)


def action_seed(seed: int, stream: str | int, action: int) -> int:
    """Return the seed of one action of one episode, below 2**31. All engines use it."""
    return derive(seed, "action", stream, action)


def _inverse(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return the tokens (n,) at the quantiles `uniforms` (n,) of the distributions `weights` (n, vocabulary).

    A token of weight 0 is never returned. Sums are in float64: single precision would lose rare tokens.
    """
    sums = weights.cumsum(-1, dtype=torch.float64)
    ids = torch.searchsorted(sums, (uniforms * sums[:, -1])[:, None], right=True).squeeze(-1)
    return ids.clamp(max=weights.shape[-1] - 1)


def _block_tokens(device: torch.device) -> int:
    """Return the maximum number of padded tokens per pass: few on a CPU, where padding costs more than a pass."""
    return 1024 if device.type == "cpu" else 16384


def _cache_argument(decoder: nn.Module) -> str:
    """Return the name of the decoder's cache argument, which Transformers 5.24 changed."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"
