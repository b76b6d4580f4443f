"""Completions server for one policy, with vLLM's fields for token ids, for small models and tests.

Concurrent requests are decoded in one batch. Each has its own seed, so its result does not depend on the batch.
"""

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from agents.errors import CheckpointError, RequestError
from agents.models.policy import Policy
from agents.models.weights import read_merged
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.sampler import TokenSampler
from agents.rollout.types import Sampled

_BATCH = 256  # maximum number of requests in a batch


class CompletionRequest(BaseModel):
    """Completion request. Fields that change the distribution are declared, so that other values are refused."""

    model_config = ConfigDict(extra="forbid")

    model: str
    prompt: list[int] = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    temperature: Literal[1] = 1
    top_p: Literal[1] = 1
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    stop_token_ids: Annotated[list[int], Field(min_length=1, max_length=1)]
    logprobs: Literal[0] = 0
    return_token_ids: Literal[True] = True
    ignore_eos: Literal[True] = True
    include_stop_str_in_output: bool = True
    skip_special_tokens: bool = False
    add_special_tokens: Literal[False] = False
    n: Literal[1] = 1
    top_k: Literal[-1, 0] = -1
    min_p: Literal[0] = 0
    repetition_penalty: Literal[1] = 1
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0


class Reload(BaseModel):
    """Body of `/collective_rpc`: load weights."""

    class Arguments(BaseModel):
        """Arguments of `reload_weights`."""

        weights_path: Path

    method: Literal["reload_weights"]
    kwargs: Arguments


_Asked = tuple[CompletionRequest, Future[Sampled]]


class _Batch(TokenSampler):
    """Sampler of one action per request, with the seed of the request."""

    def __init__(self, policy: Policy, context: int, requests: Sequence[CompletionRequest]) -> None:
        first = requests[0]
        longest = max(request.max_tokens for request in requests)
        super().__init__(policy, context=context, stop_id=first.stop_token_ids[0], sampling=Sampling(longest))
        self._limits = [request.max_tokens for request in requests]
        self._seeds = [request.seed % 2**64 for request in requests]  # a Philox key is not negative
        for slot, request in enumerate(requests):
            self.start(slot, request.prompt)

    def _longest(self, slot: int) -> int:
        return min(self._limits[slot], super()._longest(slot))

    def _action_seed(self, slot: int) -> int:
        return self._seeds[slot]


class Decoder:
    """Batched decoder of a policy in a background thread, a context manager; `context` is its length in tokens."""

    def __init__(self, policy: Policy, context: int) -> None:
        self._policy, self._context = policy, context
        self._tokens = int(cast(Any, policy.language_model).get_input_embeddings().num_embeddings)
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._weights = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    async def complete(self, request: CompletionRequest) -> Sampled:
        """Sample an action. Any number of requests may wait; a waiting request takes no thread.

        Raises:
            RequestError: The request is invalid; other requests are not affected.
        """
        self._check(request)
        future: Future[Sampled] = Future()
        self._waiting.put((request, future))
        return await asyncio.wrap_future(future)

    def reload(self, folder: Path) -> None:
        """Load the weights in a folder. Raises `CheckpointError`."""
        with self._weights:
            read_merged(folder, self._policy)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < _BATCH and not self._waiting.empty():
                if (more := self._waiting.get()) is None:
                    self._waiting.put(None)
                    break
                batch.append(more)
            asked = [each for each in batch if each[1].set_running_or_notify_cancel()]
            for _, part in groupby(sorted(asked, key=_stop_token), _stop_token):
                self._answer(list(part))
        while not self._waiting.empty():  # requests after the stop signal
            if (late := self._waiting.get()) is not None:
                late[1].cancel()

    def _check(self, request: CompletionRequest) -> None:
        """Raise `RequestError` for a request that would fail in a batch."""
        for field in ("prompt", "stop_token_ids"):
            for place, token in enumerate(getattr(request, field)):
                if not 0 <= token < self._tokens:
                    raise RequestError(
                        f"{field}[{place}]={token} is no token of this model, which has 0 to {self._tokens - 1}; use "
                        "the tokenizer of the model that is served"
                    )
        if len(request.prompt) >= self._context:
            raise RequestError(
                f"prompt has {len(request.prompt)} tokens and leaves no room for an action in a context of "
                f"{self._context}; shorten it, or serve a model of a longer context"
            )

    def _answer(self, batch: list[_Asked]) -> None:
        try:
            with self._weights:
                sampled = act(_Batch(self._policy, self._context, [request for request, _ in batch]), range(len(batch)))
        except Exception as error:  # any error: the waiting requests receive it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), action in zip(batch, sampled, strict=True):
            future.set_result(action)


def create_app(decoder: Decoder, name: str) -> FastAPI:
    """Return the application of a running decoder; `name` is that of the model."""
    app = FastAPI(title="steptool policy server")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model"}]}

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> dict[str, Any]:
        try:
            sampled = await decoder.complete(request)
        except RequestError as error:
            raise HTTPException(400, str(error)) from error
        return {"object": "text_completion", "model": name, "choices": [_choice(request, sampled)]}

    @app.post("/collective_rpc")
    def collective_rpc(call: Reload) -> dict[str, Any]:
        try:
            decoder.reload(call.kwargs.weights_path)
        except CheckpointError as error:
            raise HTTPException(400, str(error)) from error
        return {"results": [None]}

    @app.post("/reset_prefix_cache")
    async def reset_prefix_cache() -> None:
        """Do nothing: this server has no prefix cache."""

    return app


def _choice(request: CompletionRequest, sampled: Sampled) -> dict[str, Any]:
    return {
        "index": 0,
        "text": "",
        "token_ids": sampled.ids,
        "prompt_token_ids": request.prompt,
        "logprobs": {"token_logprobs": sampled.log_probs},
        "finish_reason": "stop" if sampled.stopped else "length",
    }


def _stop_token(asked: _Asked) -> int:
    return asked[0].stop_token_ids[0]
