"""A rollout engine behind HTTP: a completions server that takes token ids and returns token ids and log-probabilities.

The fields are vLLM's. One request asks for one action: the whole episode so far goes in as ids, so nothing is decoded
and encoded again, and the server's prefix cache spares it the reading. A seed of its own goes with every request,
because a server gives all prompts of one request the same noise, and members of a group have the same prompt.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from agents.errors import EngineError
from agents.rollout.config import RolloutConfig, Sampling
from agents.rollout.sampler import action_seed
from agents.rollout.types import Sampled

_KEY = "OPENAI_API_KEY"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT = 0.5  # seconds; doubled with every further try
_PLAIN: Mapping[str, Any] = {
    # A server applies the model's generation_config.json to what a request leaves open (Qwen's cuts to 20 tokens);
    # the policy gradient needs the policy's own distribution.
    "n": 1,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "ignore_eos": True,  # only our stop token ends an action
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "add_special_tokens": False,
    "return_token_ids": True,
    "logprobs": 0,  # of the sampled token alone
}


class HttpEngine:
    """Samples at a server. See `RolloutEngine`.

    Args:
        config: Names the server and says how to ask it.
        write: Writes the policy's present weights to a folder, for the server to read.
        context: Longest episode in tokens.
        stop_id: The token that ends an action.
        sampling: How actions are drawn.
        seed: Of the sampler.

    Raises:
        EngineError: By any method: the server cannot be reached, or does not answer as it must. It says what to do.
    """

    def __init__(
        self,
        config: RolloutConfig,
        write: Callable[[Path], None],
        *,
        context: int,
        stop_id: int,
        sampling: Sampling,
        seed: int = 0,
    ) -> None:
        self._config, self._write = config, write
        self._context, self._stop, self._sampling = context, stop_id, sampling
        self._url = config.url.rstrip("/").removesuffix("/v1")
        key = os.environ.get(_KEY, "")
        limits = httpx.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, timeout=config.timeout, limits=limits)
        # Threads, not asyncio: httpx's asynchronous pool slows down with the number of requests in flight.
        self._pool = ThreadPoolExecutor(config.concurrency)
        self._model = config.model
        self._version: int | None = None
        self._folder: Path | None = None
        self.seed(seed)
        self.clear()

    def seed(self, seed: int) -> None:
        """Draw from `seed` from now on, and number episodes from 0."""
        self._seed, self._begun = seed, 0

    def publish(self, version: int, *, at_once: bool = False) -> int:
        """Hand the weights over when they are due; the server answers once it samples with them."""
        late = 1 if at_once else self._config.sync_every
        if self._version is not None and version - self._version < late:
            return self._version
        folder = Path(self._config.weights_dir).absolute() / f"weights-{version}"
        self._remove()
        self._folder = folder  # before anything can fail, so that `close` knows of it
        self._write(folder)
        self._load(folder)
        self._version = version
        return version

    def clear(self) -> None:
        """Forget every episode. The sampler goes on: no two episodes after a seed share their draws."""
        self._ids: dict[int, list[int]] = {}  # tokens so far, by slot
        self._draws: dict[int, tuple[str | int, int]] = {}  # stream of the episode, number of its next action, by slot

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """Begin an episode with its opening tokens. See `RolloutEngine.start`."""
        self._ids[slot], self._draws[slot] = list(ids), (self._begun if stream is None else stream, 0)
        self._begun += 1

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """Add tokens that were not sampled: a tool's answer."""
        self._ids[slot].extend(ids)

    def room(self, slot: int) -> int:
        """Tokens that the episode may still grow by in the model's context; 0 or less where it is full."""
        return self._context - len(self._ids[slot])

    def free(self, slot: int) -> None:
        """End an episode."""
        del self._ids[slot], self._draws[slot]

    def act(self, slots: Sequence[int]) -> list[Sampled]:
        """Sample one action for each slot, in that order."""
        self._model = self._model or self._first_model()
        return list(self._pool.map(self._act, slots))

    def close(self) -> None:
        """Close the connections, and remove the weights that were handed over last."""
        self._pool.shutdown(cancel_futures=True)
        self._http.close()
        self._remove()

    def _act(self, slot: int) -> Sampled:
        ids, (stream, action) = self._ids[slot], self._draws[slot]
        room = min(self._sampling.max_action_tokens, self.room(slot))
        if room < 1:
            return Sampled([], [], stopped=False, overflow=True)
        request = {
            **_PLAIN,
            "model": self._model,
            "prompt": ids,
            "max_tokens": room,
            "temperature": self._sampling.temperature,
            "top_p": self._sampling.top_p,
            "stop_token_ids": [self._stop],
            "seed": action_seed(self._seed, stream, action),
        }
        sampled = self._read(self._post("/v1/completions", request), ids)
        ids.extend(sampled.ids)
        self._draws[slot] = stream, action + 1
        return sampled

    def _read(self, response: httpx.Response, prompt: Sequence[int]) -> Sampled:
        """The action in an answer, checked: what is wrong here would be wrong in every gradient."""
        try:
            (choice,) = response.json()["choices"]
            ids, scores = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
            seen = choice.get("prompt_token_ids")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._wrong("did not answer as a completions server does", "is this its address?") from None
        if not ids or seen is None:
            raise self._wrong("returned no token ids", "it must know `return_token_ids` (vLLM 0.10.2 or newer)")
        if list(seen) != list(prompt):
            raise self._wrong("changed the prompt's tokens", "serve the model whose tokenizer this run uses")
        if not scores:
            raise self._wrong("returned no log-probabilities", "start it without `--max-logprobs` (vLLM)")
        if len(scores) != len(ids) or not all(isinstance(s, int | float) and math.isfinite(s) for s in scores):
            raise self._wrong("did not give every token a finite log-probability", "see `--logprobs-mode` (vLLM)")
        stopped = ids[-1] == self._stop
        if choice.get("finish_reason") == "stop" and not stopped:
            raise self._wrong("ended an action without its stop token", "it must know `ignore_eos`, `stop_token_ids`")
        return Sampled([int(i) for i in ids], [float(s) for s in scores], stopped)

    def _remove(self) -> None:
        """Remove the weights that were handed over last; the server has read them, or the run has failed."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _load(self, folder: Path) -> None:
        """Let the server read the weights in a folder, and forget what it computed with those before."""
        try:
            self._post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
            self._post("/reset_prefix_cache", {})
        except EngineError as error:
            remedy = f"start vLLM with VLLM_SERVER_DEV_MODE=1 where it sees {folder.parent}, in a trusted network"
            raise EngineError(f"the new weights did not get to the server: {error}; {remedy}") from error

    def _first_model(self) -> str:
        try:
            return str(self._ask("GET", "/v1/models").json()["data"][0]["id"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._wrong("names no model", "set rollout.model") from None

    def _post(self, path: str, payload: Mapping[str, Any]) -> httpx.Response:
        return self._ask("POST", path, payload)

    def _ask(self, method: str, path: str, payload: Mapping[str, Any] | None = None) -> httpx.Response:
        """The server's answer, after as many tries as it takes and `retries` allows."""
        for attempt in range(self._config.retries + 1):
            try:
                response = self._http.request(method, self._url + path, json=payload)
                if response.is_success:
                    return response
                failure = f"HTTP {response.status_code}: {response.text[:300]}"
                if response.status_code not in _PASSING:
                    break
            except httpx.TransportError as error:
                failure = f"{type(error).__name__}: {error}"
            if attempt < self._config.retries:
                time.sleep(_FIRST_WAIT * 2**attempt)
        raise EngineError(f"{self._url}{path}: {failure}")

    def _wrong(self, fault: str, remedy: str) -> EngineError:
        return EngineError(f"the rollout server {self._url} {fault}; {remedy}")
