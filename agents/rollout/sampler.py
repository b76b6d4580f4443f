"""Continuous batching of actions with a KV cache that persists over the steps of the episodes.

Only new tokens are fed: the prompt once, then each observation. Every episode has a cache row of its own length; tokens
are written after the row's last one, and a position mask hides the rest, so padding has no effect. Each decoding step
adds a token to every action in progress, on a CPU also the tokens after it that its draft has foreseen; other actions
end and begin between the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agents.models.draws import draw
from agents.models.policy import Policy
from agents.rollout.config import Sampling
from agents.rollout.drafts import DraftTable
from agents.rollout.kv_cache import RaggedCache, cache_argument, check_layer_types, layer_masks
from agents.rollout.lean_decoder import is_lean, lean_forward, merged_decoder
from agents.rollout.types import Sampled, SlotState
from agents.seeding import action_seed

_JOIN_SHARE = 1 / 8  # share of the requested actions that wait before their tokens are fed together
_LIVE_SHARE = 7 / 8  # share of rows in a decoding step below which the idle rows are moved out of it
_GPU_STEPS = 8  # decoding steps between two looks of the host at the tokens of a GPU


class TokenSampler:
    """Rollout engine in this process. See `RolloutEngine`.

    Args:
        policy: Policy whose language model samples. Call `clear` after its weights have changed: on a CPU a copy with
            merged adapters samples. The hidden states of sampled tokens are returned where its critic is `detached`.
        context: Context length in tokens.
        stop_id: Token that ends an action.
        sampling: Maximum length of an action.
        temperature: Divisor of the logits; 0 takes the most probable token.
        seed: Random seed. A draw depends on it, the episode's stream (see `start`), the index of the action and the
            token's position in the action: not on the slot or on other episodes.
    """

    _longest_draft = 3  # tokens, on a CPU, whose steps wait for memory: more tokens cost little

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
        self._cache_argument = cache_argument(policy.decoder)
        self._lean = is_lean(policy.decoder)
        check_layer_types(policy.decoder.config)
        self._kept: RaggedCache | None = None
        self._state_size = policy.width if policy.critic_kind == "detached" else 0
        self.seed(seed)
        self.clear()

    def seed(self, seed: int) -> None:
        """See `RolloutEngine.seed`."""
        self._seed, self._begun = seed, 0

    def clear(self) -> None:
        """See `RolloutEngine.clear`."""
        if self._kept is None or self._policy.device.type != "cpu":  # a GPU's memory is for training meanwhile
            self._kept = self._make_cache()
        self._cache = self._kept
        self._decoder = merged_decoder(self._policy)
        self._drafts = DraftTable()
        self._slots: dict[int, SlotState] = {}
        self._full: list[int] = []  # slots without room for the action that was requested
        self._waiting: list[int] = []  # slots whose requested action waits for a feed
        self._active: list[int] = []  # slots whose action is in progress

    def sync_weights(self, version: int) -> None:
        """See `RolloutEngine.sync_weights`. The engine reads the weights in place."""

    def close(self) -> None:
        """See `RolloutEngine.close`."""

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """See `RolloutEngine.start`."""
        if slot in self._slots:
            self.free(slot)
        self._slots[slot] = state = SlotState(self._begun if stream is None else stream, 0, list(ids))
        self._drafts.learn(state.tail, ids)
        self._begun += 1

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """See `RolloutEngine.append`."""
        self._slots[slot].pending.extend(ids)
        self._drafts.learn(self._slots[slot].tail, ids)

    def remaining_tokens(self, slot: int) -> int:
        """See `RolloutEngine.remaining_tokens`."""
        state = self._slots[slot]
        return self._context - state.length - len(state.pending)

    @torch.inference_mode()
    def fork(self, source: int, target: int, stream: str | int) -> None:
        """See `RolloutEngine.fork`."""
        state = self._slots[source]
        if state.limit:
            raise RuntimeError(f"slot {source} has an action in progress; fork it between two actions")
        if target in self._slots:
            self.free(target)
        self._slots[target] = fork = replace(
            state, stream=stream, pending=list(state.pending), tail=list(state.tail), row=-1
        )
        if state.row >= 0:
            self._allocate([fork], state.length)
            self._cache.copy([state.row], [fork.row], state.length)

    def free(self, slot: int) -> None:
        """See `RolloutEngine.free`."""
        del self._slots[slot]
        for several in (self._full, self._waiting, self._active):
            if slot in several:
                several.remove(slot)

    def request(self, slots: Sequence[int]) -> None:
        """See `RolloutEngine.request`."""
        for slot in slots:
            state = self._slots[slot]
            if self.remaining_tokens(slot) < 1:
                self._full.append(slot)
                continue
            state.limit = self._longest(slot)
            state.ids, state.log_probs, state.hidden = [], [], []
            if self._temperature:
                generator = np.random.Generator(np.random.Philox(key=self._action_seed(slot)))
                state.uniforms = generator.random(state.limit)  # counter-based: a number does not depend on the limit
            self._waiting.append(slot)

    @torch.inference_mode()
    def decode(self) -> dict[int, Sampled]:
        """See `RolloutEngine.decode`. Feeds waiting tokens, or adds a token to each action in progress."""
        ended = {slot: Sampled([], [], stopped=False, overflow=True) for slot in self._full}
        self._full = []
        waiting, active = len(self._waiting), len(self._active)
        if waiting and waiting >= _JOIN_SHARE * (waiting + active):
            ended |= self._join()
        elif active:
            ended |= self._advance()
        return ended

    def _longest(self, slot: int) -> int:
        """Return the maximum length of the slot's next action."""
        return min(self._sampling.max_action_tokens, self.remaining_tokens(slot))

    def _action_seed(self, slot: int) -> int:
        """Return the seed of a slot's next action, at least 0."""
        state = self._slots[slot]
        return action_seed(self._seed, state.stream, state.action)

    def _make_cache(self) -> RaggedCache:
        """Return an empty cache."""
        return RaggedCache()

    def _join(self) -> dict[int, Sampled]:
        """Feed the pending tokens of all waiting slots, and draw the first token of their actions.

        Equal prompts, as in a group, are fed once and their row is copied.
        """
        slots, self._waiting = self._waiting, []
        states = [self._slots[slot] for slot in slots]
        columns = max(state.length + len(state.pending) for state in states)
        self._allocate([state for state in states if state.row < 0], columns)
        sources = self._prompt_sources(slots)
        readers = [slot for slot in slots if sources[slot] == slot]
        readers.sort(key=lambda slot: (self._slots[slot].length > 0, len(self._slots[slot].pending)))  # little padding
        hidden = torch.cat([self._read(piece) for piece in self._pieces(readers)])
        copies = [slot for slot in slots if sources[slot] != slot]
        if copies:
            rows = {self._slots[slot].row: self._slots[sources[slot]].row for slot in copies}
            self._cache.copy(list(rows.values()), list(rows), columns)
        for state in states:
            state.length += len(state.pending)
            state.pending = []
        places = {slot: place for place, slot in enumerate(readers)}
        order = torch.tensor([places[sources[slot]] for slot in slots], device=hidden.device)
        numbers = [state.uniforms[0] if self._temperature else 0.0 for state in states]
        hidden = hidden[order]
        drawn, scores = self._draw(hidden, torch.tensor(numbers, dtype=torch.float64, device=hidden.device))
        self._active += slots
        places = dict(zip(slots, range(len(slots)), strict=True))
        return self._take(places, drawn[:, None], scores[:, None], hidden[:, None, : self._state_size], {})

    def _advance(self) -> dict[int, Sampled]:
        """Add tokens to each action in progress: on a CPU one and those that a draft has foreseen, on a GPU several."""
        self._compact()
        rows = {slot: self._slots[slot].row for slot in self._active}
        count = self._fed(1 + max(rows.values()))
        steps, most = self._steps(), self._longest_draft if self._policy.device.type == "cpu" else 0
        drafts = {slot: self._draft(slot, most) for slot in rows}
        block = 1 + max(len(draft) for draft in drafts.values())
        tokens = np.full((count, block), self._stop)
        positions, moving = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        for state in self._slots.values():  # an idle row writes where its next tokens will be written
            if 0 <= state.row < count:
                positions[state.row] = state.length
        uniforms = np.zeros((count, max(steps, block)))
        for slot, row in rows.items():
            state, draft = self._slots[slot], drafts[slot]
            done = len(state.ids)
            tokens[row, : 1 + len(draft)] = [state.ids[-1], *draft]
            positions[row], moving[row] = state.length + done - 1, 1
            if self._temperature:
                numbers = state.uniforms[done : done + max(steps, block)]
                uniforms[row, : len(numbers)] = numbers
        self._cache.reserve(count, min(int(positions.max()) + steps - 1 + block, self._context))
        width = max(int(positions[row]) for row in rows.values()) + block
        device = self._policy.device
        fed, starts, advance, draws = (
            torch.from_numpy(array).to(device) for array in (tokens, positions, moving, uniforms)
        )
        places = (starts[:, None] + torch.arange(block, device=device)).clamp(max=self._context - 1)
        drawn = torch.zeros(draws.shape, dtype=torch.long, device=device)
        scores = torch.zeros(draws.shape, dtype=torch.float64, device=device)
        hidden = torch.zeros((*draws.shape, self._state_size), dtype=self._policy.dtype, device=device)
        for step in range(steps):
            now = slice(step, step + block)
            fed, scores[:, now], states = self._step(fed, places, min(width + step, self._context), draws[:, now])
            hidden[:, now] = states[..., : self._state_size]
            drawn[:, now] = fed
            places = (places + advance[:, None]).clamp(max=self._context - 1)
        return self._take(rows, drawn, scores, hidden, drafts if most else {})

    def _fed(self, span: int) -> int:
        """Return the number of rows of a decoding step whose rows in progress are among the first `span`."""
        return span

    def _steps(self) -> int:
        """Return the number of decoding steps until the host looks at the tokens."""
        if self._policy.device.type == "cpu":
            return 1
        return min(_GPU_STEPS, max(self._slots[slot].limit - len(self._slots[slot].ids) for slot in self._active))

    def _draft(self, slot: int, most: int) -> list[int]:
        """Return the guessed tokens after the last one of the action in progress; they leave room for one more."""
        state = self._slots[slot]
        return self._drafts.draft(state.tail, min(most, state.limit - len(state.ids) - 1))

    def _take(
        self,
        places: Mapping[int, int],
        drawn: Tensor,
        scores: Tensor,
        hidden: Tensor,
        drafts: Mapping[int, list[int]],
    ) -> dict[int, Sampled]:
        """Append drawn tokens (n, q), log-probabilities and hidden states to actions of slots, by place among the n.

        With a draft, a token is drawn after the draft's token; it counts if the last drawn token is the same. Return
        the actions that have ended. Their last token was sampled but not fed, so it stays pending.
        """
        ended: dict[int, Sampled] = {}
        tokens, log_probs = drawn.tolist(), scores.tolist()
        states = hidden.to(self._policy.score_dtype).cpu().numpy()
        for slot, place in places.items():
            state, draft = self._slots[slot], drafts.get(slot)
            begin = len(state.ids)
            for number, token in enumerate(tokens[place]):
                if number and draft is not None and draft[number - 1 : number] != state.ids[-1:]:
                    break
                state.ids.append(token)
                state.log_probs.append(log_probs[place][number])
                if token == self._stop or len(state.ids) == state.limit:
                    break
            state.hidden.append(states[place, : len(state.ids) - begin])
            self._drafts.learn(state.tail, state.ids[begin:])
            stopped = state.ids[-1] == self._stop
            if stopped or len(state.ids) == state.limit:
                kept = np.concatenate(state.hidden) if self._state_size else None
                ended[slot] = Sampled(state.ids, state.log_probs, stopped, hidden=kept)
                state.length += len(state.ids) - 1
                state.pending = state.ids[-1:]
                state.limit, state.action = 0, state.action + 1
        self._active = [slot for slot in self._active if slot not in ended]
        return ended

    def _compact(self) -> None:
        """Move the rows of actions in progress to the front if too many others lie between them."""
        rows = {self._slots[slot].row: slot for slot in self._active}
        count, span = len(rows), 1 + max(rows)
        if not self._worth(count, span):
            return
        gaps = [row for row in range(count) if row not in rows]
        late = [row for row in rows if row >= count]
        owners = {state.row: state for state in self._slots.values() if state.row >= 0}
        columns = max(owners[row].length + len(owners[row].ids) for row in {*gaps, *late} & owners.keys())
        moves = {late_row: gap for gap, late_row in zip(gaps, late, strict=True)}
        moves |= {gap: late_row for gap, late_row in zip(gaps, late, strict=True) if gap in owners}
        self._cache.copy(list(moves), list(moves.values()), columns)
        for source, target in moves.items():
            owners[source].row = target

    def _worth(self, count: int, span: int) -> bool:
        """Return true if a step of `count` rows is enough cheaper than one of `span` rows to move rows for it."""
        return count <= _LIVE_SHARE * span

    def _allocate(self, states: Sequence[SlotState], columns: int) -> None:
        """Give each of `states` the first free cache row, with room for `columns` tokens."""
        taken = {state.row for state in self._slots.values()}
        row = 0
        for state in states:
            while row in taken:
                row += 1
            state.row = row
            taken.add(row)
        self._cache.reserve(max(taken) + 1, columns)

    def _prompt_sources(self, slots: list[int]) -> dict[int, int]:
        """Return the slot that reads the prompt of each slot: itself, or the first with the same prompt."""
        first: dict[tuple[int, ...], int] = {}
        states = {slot: self._slots[slot] for slot in slots}
        return {
            slot: slot if state.length else first.setdefault(tuple(state.pending), slot)
            for slot, state in states.items()
        }

    def _pieces(self, slots: list[int]) -> Iterator[list[int]]:
        """Yield groups of consecutive slots that are fed together."""
        most = _block_tokens(self._policy.device)
        piece: list[int] = []
        for slot in slots:
            longest = max(len(self._slots[each].pending) for each in [*piece, slot])
            begun = bool(self._slots[slot].length)
            if piece and ((len(piece) + 1) * longest > most or begun != bool(self._slots[piece[0]].length)):
                yield piece
                piece = []
            piece.append(slot)
        yield piece

    def _read(self, slots: Sequence[int]) -> Tensor:
        """Feed the pending tokens of slots. Return the hidden states of the last tokens (n, h)."""
        states = [self._slots[slot] for slot in slots]
        counts = [len(state.pending) for state in states]
        device = self._policy.device
        blocks = [torch.tensor(state.pending) for state in states]
        block = pad_sequence(blocks, batch_first=True, padding_value=self._stop).to(device)
        lengths = torch.tensor([state.length for state in states], device=device)
        # Padding may exceed the context: it is written to the last column, whose token is never fed and never read.
        positions = (lengths[:, None] + torch.arange(block.shape[1], device=device)).clamp(max=self._context - 1)
        width = min(max(state.length for state in states) + max(counts), self._context)
        self._cache.reserve(0, width)
        self._cache.place(torch.tensor([state.row for state in states], device=device), positions, width)
        first = not any(state.length for state in states)
        return self._feed(block, positions, torch.tensor(counts, device=device) - 1, first=first)

    def _feed(self, ids: Tensor, positions: Tensor, last: Tensor | None = None, *, first: bool = False) -> Tensor:
        """Feed a block (n, q) at `positions` (n, q). Return the hidden states (n, h) of its columns `last` (n,).

        Without `last` all hidden states are returned (n * q, h). The cache has its destination. `first`: no row has
        earlier tokens.
        """
        decoder = self._decoder
        if self._lean:
            return lean_forward(decoder, ids, positions, self._cache, last, first=first)
        output = decoder(
            input_ids=ids,
            attention_mask=layer_masks(decoder.config, positions, self._cache.width, self._policy.dtype),
            position_ids=positions,
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        hidden = cast(Tensor, output.last_hidden_state)
        return hidden.flatten(0, 1) if last is None else hidden[torch.arange(len(ids), device=ids.device), last]

    def _step(self, ids: Tensor, positions: Tensor, width: int, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feed tokens (n, q) of the first n cache rows at `positions` (n, q), which see `width` columns.

        Draw the token after each with `uniforms` (n, q). Return tokens and log-probabilities (n, q), and the hidden
        states (n, q, h).
        """
        self._cache.place(slice(len(ids)), positions, width)
        hidden = self._feed(ids, positions)
        drawn, scores = self._draw(hidden, uniforms.flatten())
        return drawn.view(ids.shape), scores.view(ids.shape), hidden.view(*ids.shape, -1)

    def _draw(self, hidden: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token per row of hidden states. Return ids (n,) and log-probabilities (n,). Does not synchronize."""
        return draw(self._policy.logits(hidden), uniforms, self._temperature)


def _block_tokens(device: torch.device) -> int:
    """Return the maximum number of padded tokens per pass: few on a CPU, where padding costs more than a pass."""
    return 1024 if device.type == "cpu" else 16384
