"""Sampling actions for many episodes at once, with a KV cache that lives as long as the episodes do.

Only tokens that the model has not seen are fed: the prompt once, then each tool answer. Every episode has
a row of its own length in the cache; tokens are written behind the row's last one and a position mask
hides what lies beyond, so padding inside a block never shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from agents.policy import Policy

_GROWTH = 128  # tokens by which the cache grows
_SYNC_EVERY = 8  # decoded tokens between two looks at whether every row has stopped (each look waits for the device)


class Sampled(NamedTuple):
    """One sampled action.

    Attributes:
        ids: The sampled tokens, the stop token included when it was reached.
        log_probs: Of each token under the policy at the sampling temperature (before top-p).
        stopped: Whether the stop token was sampled; else the action was cut at its longest length.
        overflow: There was no room for an action in the context; nothing was sampled.
    """

    ids: list[int]
    log_probs: list[float]
    stopped: bool
    overflow: bool = False


@dataclass(frozen=True)
class Sampling:
    """How actions are drawn."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most probable token."""
    top_p: float = 1.0
    """Sample among the most probable tokens that together hold this probability. Keep 1 in training: the
    policy gradient needs the probability that the sample was drawn with."""
    max_action_tokens: int = 128
    """Longest action; a longer one is cut and handed to the environment as it is."""


class RaggedCache:
    """Keys and values of every layer; rows of different lengths. Grows as needed.

    It speaks the part of Transformers' cache interface that a decoder uses when mask and positions are given.
    """

    is_compileable = False

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values (rows, heads, capacity, d) of each layer
        self._places = torch.empty(0, 0, dtype=torch.long)
        self._width = 0
        self._capacity = 0

    def place(self, positions: Tensor, width: int) -> None:
        """Say where the next block goes: positions (n, q), all below `width`."""
        self._places, self._width = positions, width
        if width > self._capacity:
            self._capacity = -(-width // _GROWTH) * _GROWTH
            self._layers = [(_grown(k, self._capacity), _grown(v, self._capacity)) for k, v in self._layers]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write a block (n, heads, q, d) at its place; return the first n rows up to `width`."""
        n = keys.shape[0]
        if layer == len(self._layers):
            shape = (n, keys.shape[1], self._capacity, keys.shape[3])
            self._layers.append((keys.new_zeros(shape), values.new_zeros(shape)))
        stored_keys, stored_values = self._layers[layer]
        where = self._places[:, None, :, None].expand_as(keys)
        stored_keys[:n].scatter_(2, where, keys)
        stored_values[:n].scatter_(2, where, values)
        return stored_keys[:n, :, : self._width], stored_values[:n, :, : self._width]

    def arrange(self, rows: Sequence[int]) -> None:
        """Keep `rows`, in that order; a row may be kept twice."""
        if self._layers:
            index = torch.tensor(rows, device=self._layers[0][0].device)
            self._layers = [(k[index], v[index]) for k, v in self._layers]


class Generator:
    """Samples actions for episodes in slots.

    Args:
        policy: Its language model is read, never changed; call `clear` after its weights changed.
        context: Longest episode in tokens.
        stop_id: The token that ends an action.
        sampling: How actions are drawn.
        seed: Of the sampler.
    """

    def __init__(self, policy: Policy, *, context: int, stop_id: int, sampling: Sampling, seed: int = 0) -> None:
        self._policy, self._context, self._stop, self._sampling = policy, context, stop_id, sampling
        self._random = torch.Generator(policy.device)
        self.seed(seed)
        self.clear()

    def seed(self, seed: int) -> None:
        """Start the sampler anew."""
        self._random.manual_seed(seed)

    def clear(self) -> None:
        """Forget every episode."""
        self._cache = RaggedCache()
        self._rows: list[int] = []  # slot of each cache row
        self._lengths: dict[int, int] = {}  # tokens in the cache, by slot
        self._pending: dict[int, list[int]] = {}  # tokens not yet fed, by slot

    def start(self, slot: int, ids: Sequence[int]) -> None:
        """Begin an episode with its opening tokens."""
        self._lengths[slot] = 0
        self._pending[slot] = list(ids)

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """Add tokens that were not sampled: a tool's answer."""
        self._pending[slot].extend(ids)

    def free(self, slot: int) -> None:
        """End an episode; its row is given to the next."""
        del self._lengths[slot], self._pending[slot]

    @torch.inference_mode()
    def act(self, slots: Sequence[int]) -> list[Sampled]:
        """Sample one action for each slot, in that order."""
        ready = [slot for slot in slots if self._room(slot) > 0]
        sampled = dict(zip(ready, self._decode(ready), strict=True)) if ready else {}
        return [sampled.get(slot, Sampled([], [], stopped=False, overflow=True)) for slot in slots]

    def _room(self, slot: int) -> int:
        """Tokens that an action of this slot may have."""
        return min(self._sampling.max_action_tokens, self._context - self._lengths[slot] - len(self._pending[slot]))

    def _decode(self, slots: list[int]) -> list[Sampled]:
        self._arrange(slots)
        hidden = self._prefill(slots)
        device = hidden.device
        rooms = [self._room(slot) for slot in slots]
        longest, base = max(rooms), max(self._lengths[slot] for slot in slots)
        limits = torch.tensor(rooms, device=device)
        lengths = torch.tensor([self._lengths[slot] for slot in slots], device=device)
        look = 1 if device.type == "cpu" else _SYNC_EVERY
        ids = torch.full((len(slots), longest), self._stop, dtype=torch.long, device=device)
        log_probs = torch.zeros((len(slots), longest), dtype=torch.float64, device=device)
        live = torch.ones(len(slots), dtype=torch.bool, device=device)
        counts = torch.zeros_like(limits)
        for t in range(longest):
            ids[:, t], log_probs[:, t] = self._sample(hidden)
            counts += live
            live &= (ids[:, t] != self._stop) & (counts < limits)
            if t == longest - 1 or (t % look == look - 1 and not live.any()):
                break
            hidden = self._feed(ids[:, t, None], (lengths + counts - 1)[:, None], base + t + 1)[:, 0]
        return self._collect(slots, ids, log_probs, counts)

    def _collect(self, slots: list[int], ids: Tensor, log_probs: Tensor, counts: Tensor) -> list[Sampled]:
        """Cut each row at its end; its last token was sampled but not fed, so it is still pending."""
        rows = zip(slots, ids.tolist(), log_probs.tolist(), counts.tolist(), strict=True)
        results = []
        for slot, tokens, scores, count in rows:
            self._lengths[slot] += count - 1
            self._pending[slot] = [tokens[count - 1]]
            results.append(Sampled(tokens[:count], scores[:count], stopped=tokens[count - 1] == self._stop))
        return results

    def _arrange(self, slots: list[int]) -> None:
        """Bring the rows of `slots` to the front, drop those of ended episodes."""
        held = {slot: row for row, slot in enumerate(self._rows)}
        others = [slot for slot in self._rows if slot in self._lengths and slot not in set(slots)]
        order = [*slots, *others]
        if order == self._rows:
            return
        rows = [held.get(slot, 0) for slot in order]  # a new episode's row may hold anything: it is all masked
        self._cache.arrange(rows)
        self._rows = order

    def _prefill(self, slots: list[int]) -> Tensor:
        """Feed what each slot has not seen, padded on the right: hidden state of its last token (n, h)."""
        pending = [self._pending[slot] for slot in slots]
        counts = [len(ids) for ids in pending]
        block = torch.full((len(slots), max(counts)), self._stop)
        for row, ids in enumerate(pending):
            block[row, : len(ids)] = torch.tensor(ids)
        device = self._policy.device
        lengths = torch.tensor([self._lengths[slot] for slot in slots], device=device)
        positions = lengths[:, None] + torch.arange(block.shape[1], device=device)
        width = max(self._lengths[slot] for slot in slots) + max(counts)
        hidden = self._feed(block.to(device), positions, width)
        for slot, count in zip(slots, counts, strict=True):
            self._lengths[slot] += count
            self._pending[slot] = []
        last = torch.tensor(counts, device=device) - 1
        return hidden[torch.arange(len(slots), device=device), last]

    def _feed(self, ids: Tensor, positions: Tensor, width: int) -> Tensor:
        """Hidden states (n, q, h) of a block at its positions (n, q)."""
        self._cache.place(positions, width)
        mask = torch.arange(width, device=ids.device) <= positions[..., None]
        output = self._policy.decoder(
            input_ids=ids,
            attention_mask=mask[:, None],
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return cast(Tensor, output.last_hidden_state)

    def _sample(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token for each row: ids (n,), log-probabilities (n,)."""
        logits = self._policy.output_layer(hidden)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self._sampling.temperature == 0:
            ids = logits.argmax(-1)
            return ids, logits.log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
        log_probs = (logits / self._sampling.temperature).log_softmax(-1)
        # The race of exponentials: argmax(p / e) draws from p. Unlike `multinomial` it never waits for the device.
        noise = torch.empty_like(log_probs).exponential_(generator=self._random)
        ids = (_nucleus(log_probs, self._sampling.top_p).exp() / noise).argmax(-1)
        return ids, log_probs.gather(-1, ids[:, None]).squeeze(-1)


def _nucleus(log_probs: Tensor, top_p: float) -> Tensor:
    """Minus infinity outside the smallest set of tokens that holds `top_p`; the first token always stays."""
    if top_p >= 1:
        return log_probs
    ordered, order = log_probs.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    return log_probs.scatter(-1, order, ordered.masked_fill(before >= top_p, float("-inf")))


def _grown(tensor: Tensor, capacity: int) -> Tensor:
    n, heads, length, d = tensor.shape
    grown = tensor.new_zeros((n, heads, capacity, d))
    grown[:, :, :length] = tensor
    return grown
