"""Decoder of a policy in a background thread: continuous batching, with a cache of prefixes.

Each request has its own seed, so its result does not depend on the batch.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from agents.gateway.prefix_slots import PrefixSlots
from agents.gateway.protocol import ApiError, CompletionRequest
from agents.models.draws import draw
from agents.models.policy import Policy
from agents.models.weights import read_merged
from agents.rollout.config import Sampling
from agents.rollout.sampler import TokenSampler
from agents.rollout.types import Sampled, SlotState

_BATCH = 256  # maximum number of requests in progress
_SAMPLERS = 4  # maximum number of idle samplers, of which each stop token has one
PREFIXES = 16
"""Default number of conversations whose KV cache is kept."""


class Distribution(NamedTuple):
    """Sampling distribution of a request, and its stop token, which the requests of a sampler share."""

    stop_id: int
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(eq=False)
class Generation:
    """Request for one action.

    Attributes:
        ids: Tokens of the prompt.
        max_tokens: Maximum length of the action.
        seed: Random seed, any integer of 64 bits.
        distribution: Distribution to sample from.
        on_tokens: Called in the decoder's thread with new tokens and their log-probabilities, while it is in progress.
        future: Result. A cancelled one ends the request.
        cached: Number of tokens of the prompt that were in the cache.
        reported: Number of tokens that `on_tokens` was called with.
    """

    ids: list[int]
    max_tokens: int
    seed: int
    distribution: Distribution
    on_tokens: Callable[[list[int], list[float]], None] | None = None
    future: Future[Sampled] = field(default_factory=Future)
    cached: int = 0
    reported: int = 0


class _RequestSampler(TokenSampler):
    """Sampler whose actions have a seed, a maximum length and a distribution each."""

    def __init__(self, policy: Policy, context: int, stop_id: int, prefixes: int) -> None:
        self.requests: dict[int, Generation] = {}  # in progress, by slot
        self._rows: list[Distribution] = []  # of the hidden states from which tokens are drawn
        super().__init__(policy, context=context, stop_id=stop_id, sampling=Sampling(context))
        self._prefixes = PrefixSlots(self, prefixes)

    def begin(self, generation: Generation) -> None:
        """Start a request. After an error it is not in progress, and others are not affected."""
        slot, generation.cached = self._prefixes.place(generation.ids)
        self.requests[slot] = generation
        try:
            self.request([slot])
        except Exception:
            self._end(slot)
            raise

    def advance(self) -> None:
        """Go on with the requests in progress; end those that were cancelled."""
        for slot in [slot for slot, request in self.requests.items() if request.future.cancelled()]:
            self._end(slot)
        for slot, sampled in self.decode().items():
            self._prefixes.release(slot, sampled.ids)
            request = self.requests.pop(slot)
            if request.future.set_running_or_notify_cancel():
                request.future.set_result(sampled)
        for slot, request in list(self.requests.items()):
            try:
                self._report(self._slots[slot], request)
            except Exception as error:  # any error of whoever listens, such as the end of its event loop
                self._end(slot)
                fail(request.future, error)

    def _report(self, state: SlotState, request: Generation) -> None:
        if request.on_tokens is not None and len(state.ids) > request.reported:
            request.on_tokens(state.ids[request.reported :], state.log_probs[request.reported :])
            request.reported = len(state.ids)

    def _end(self, slot: int) -> None:
        del self.requests[slot]
        self._prefixes.free(slot)

    def _longest(self, slot: int) -> int:
        return min(self.requests[slot].max_tokens, super()._longest(slot))

    def _action_seed(self, slot: int) -> int:
        return self.requests[slot].seed % 2**64  # a Philox key is not negative

    def _join(self) -> dict[int, Sampled]:
        self._rows = [self.requests[slot].distribution for slot in self._waiting]
        return super()._join()

    def _step(self, ids: Tensor, positions: Tensor, width: int, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = {self._slots[slot].row: self.requests[slot].distribution for slot in self._active}
        any_of_them = next(iter(rows.values()))  # what is drawn for an idle row is not read
        self._rows = [rows.get(row, any_of_them) for row in range(len(ids)) for _ in range(ids.shape[1])]
        return super()._step(ids, positions, width, uniforms)

    def _draw(self, hidden: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token per row, together for the rows of a distribution."""
        kinds = list(dict.fromkeys(self._rows))
        if len(kinds) == 1:
            return self._draw_from(kinds[0], hidden, uniforms)
        places = [[row for row, kind in enumerate(self._rows) if kind == each] for each in kinds]
        parts = [self._draw_from(kind, hidden[rows], uniforms[rows]) for kind, rows in zip(kinds, places, strict=True)]
        order = torch.tensor([row for rows in places for row in rows], device=hidden.device).argsort()
        ids, scores = (torch.cat(column)[order] for column in zip(*parts, strict=True))
        return ids, scores

    def _draw_from(self, kind: Distribution, hidden: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw from the most probable tokens of probability `top_p` together; scores are those of all tokens."""
        logits = self._policy.logits(hidden)
        if kind.top_p >= 1 or not kind.temperature:
            return draw(logits, uniforms, kind.temperature)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        log_probs = (logits / kind.temperature).log_softmax(-1)
        ordered, places = log_probs.exp().sort(dim=-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= kind.top_p
        masked = log_probs.masked_fill(torch.zeros_like(outside).scatter(-1, places, outside), -torch.inf)
        ids, _ = draw(masked, uniforms, 1.0)
        return ids, log_probs.gather(-1, ids[:, None]).squeeze(-1)


class Decoder:
    """Decoder of a policy in a background thread.

    Args:
        policy: Policy.
        context: Context length in tokens.
        prefixes: Number of conversations whose KV cache is kept.

    Attributes:
        context: Context length in tokens.
        weights: Random name of the weights, another one after each load and in each process.
    """

    def __init__(self, policy: Policy, context: int, prefixes: int = PREFIXES) -> None:
        self._policy, self.context, self._prefixes = policy, context, prefixes
        self.weights = token_hex(8)
        self._tokens = int(cast(Any, policy.language_model).get_input_embeddings().num_embeddings)
        self._asked: queue.SimpleQueue[Generation | _Load | None] = queue.SimpleQueue()
        self._samplers: dict[int, _RequestSampler] = {}  # by stop token, in order of use
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._closing = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the requests in progress. Requests that come later are cancelled."""
        self._asked.put(None)
        self._thread.join()

    async def complete(self, request: CompletionRequest) -> Sampled:
        """Sample an action for a request with token ids. See `submit`."""
        distribution = Distribution(request.stop_token_ids[0])
        generation = Generation(request.prompt, request.max_tokens, request.seed, distribution)
        return await asyncio.wrap_future(self.submit(generation))

    def submit(self, generation: Generation) -> Future[Sampled]:
        """Ask for an action. Any number of requests may wait; a waiting request takes no thread.

        Raises:
            ApiError: The request is invalid; other requests are not affected.
        """
        self._check(generation)
        self._put(generation, generation.future)
        return generation.future

    async def reload(self, folder: Path) -> None:
        """Load the weights in a folder, after the requests in progress. Raises `CheckpointError`."""
        load = _Load(folder)
        self._put(load, load.done)
        await asyncio.wrap_future(load.done)

    def _put(self, asked: "Generation | _Load", future: Future[Any]) -> None:
        with self._closing:
            if self._closed:
                future.cancel()
            else:
                self._asked.put(asked)

    def _run(self) -> None:
        stopping, load = False, None
        while not stopping or self.busy:
            while not stopping and load is None and (not self.busy or not self._asked.empty()):
                asked = self._asked.get()
                if asked is None:
                    stopping = True
                elif isinstance(asked, _Load):
                    load = asked
                else:
                    self._begin(asked)
                if self.busy >= _BATCH:
                    break
            if load is not None and not self.busy:
                self._load(load)
                load = None
            for sampler in list(self._samplers.values()):
                self._advance(sampler)
        with self._closing:
            self._closed = True
        while not self._asked.empty():  # requests after the stop signal
            if (late := self._asked.get()) is not None:
                (late.done if isinstance(late, _Load) else late.future).cancel()

    @property
    def busy(self) -> int:
        """Number of requests in progress."""
        return sum(len(sampler.requests) for sampler in self._samplers.values())

    def _begin(self, generation: Generation) -> None:
        if generation.future.cancelled():
            return
        try:
            self._sampler(generation.distribution.stop_id).begin(generation)
        except Exception as error:  # any error: the request receives it, and others go on
            fail(generation.future, error)

    def _sampler(self, stop_id: int) -> _RequestSampler:
        sampler = self._samplers.pop(stop_id, None)
        if sampler is None:
            sampler = _RequestSampler(self._policy, self.context, stop_id, self._prefixes)
        self._samplers[stop_id] = sampler
        idle = [each for each, other in self._samplers.items() if not other.requests and each != stop_id]
        for each in idle[: max(0, len(idle) - _SAMPLERS)]:
            del self._samplers[each]
        return sampler

    def _advance(self, sampler: _RequestSampler) -> None:
        try:
            if sampler.requests:
                sampler.advance()
        except Exception as error:  # any error: the waiting requests receive it
            for request in sampler.requests.values():
                fail(request.future, error)
            self._samplers = {key: each for key, each in self._samplers.items() if each is not sampler}

    def _load(self, load: "_Load") -> None:
        try:
            read_merged(load.folder, self._policy)
        except Exception as error:  # any error: the caller receives it
            load.done.set_exception(error)
        else:
            self._samplers.clear()  # caches of the earlier weights
            self.weights = token_hex(8)
            load.done.set_result(None)

    def _check(self, request: Generation) -> None:
        """Raise `ApiError` for a request that would fail in a batch."""
        for name, ids in (("prompt", request.ids), ("stop_token_ids", [request.distribution.stop_id])):
            for place, token in enumerate(ids):
                if not 0 <= token < self._tokens:
                    raise ApiError(
                        f"{name}[{place}]={token} is no token of this model, which has 0 to {self._tokens - 1}; use "
                        "the tokenizer of the model that is served",
                        name,
                    )
        check_room(len(request.ids), self.context)


def fail(future: Future[Any], error: Exception) -> None:
    """Give an error to who waits for a result."""
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def check_room(tokens: int, context: int) -> None:
    """Raise `ApiError` for a prompt of so many tokens that leaves no room for an action."""
    if tokens >= context:
        raise ApiError(
            f"prompt has {tokens} tokens and leaves no room for an action in a context of {context}; shorten it, or "
            "serve a model of a longer context",
            "messages",
            "context_length_exceeded",
        )


@dataclass(eq=False)
class _Load:
    """Request to load the weights in a folder."""

    folder: Path
    done: Future[None] = field(default_factory=Future)
