"""Rollout engine over HTTP: a completions server that takes token ids and returns token ids and log-probabilities.

The fields are vLLM's. Each request samples one action and sends all tokens of the episode as ids, so no text is encoded
twice and the server's prefix cache applies. Each request has its own seed: a server gives all prompts of one request
the same noise, and members of a group have the same prompt.
"""

import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx

from agents.errors import EngineError
from agents.rollout.config import Sampling
from agents.rollout.types import Sampled
from agents.seeding import action_seed

_KEY = "OPENAI_API_KEY"
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECTIONS = 64  # maximum number of concurrent requests
_TIMEOUT = 600.0  # seconds to wait for one response
_RETRIES = 3  # after a failure that may be transient
_FIRST_WAIT = 0.5  # seconds; doubled for each retry
_PLAIN: Mapping[str, Any] = {
    # A server fills missing fields from the model's generation_config.json (top_k=20 for Qwen), but the policy gradient
    # needs the unmodified distribution of the policy.
    "n": 1,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "ignore_eos": True,  # only `stop_token_ids` ends an action
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "add_special_tokens": False,
    "return_token_ids": True,
    "logprobs": 0,  # of the sampled token only
}


class HttpEngine:
    """Rollout engine that samples at a server. See `RolloutEngine`.

    `write` writes the current weights into `folder`, which the server sees under the same path. `context` is the
    context length in tokens, `stop_id` the token that ends an action. Any method raises `EngineError` where the server
    is unreachable or its response is invalid; the message has a remedy.
    """

    def __init__(
        self, url: str, folder: Path, write: Callable[[Path], None], *, context: int, stop_id: int, sampling: Sampling
    ) -> None:
        self._parent, self._write = folder.absolute(), write
        self._context, self._stop, self._sampling = context, stop_id, sampling
        self._url = url.rstrip("/").removesuffix("/v1")
        key = os.environ.get(_KEY, "")
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, timeout=_TIMEOUT, limits=limits)
        # Threads, not asyncio: httpx's asynchronous pool slows down with the number of open requests.
        self._pool = ThreadPoolExecutor(_CONNECTIONS)
        self._model = ""
        self._version: int | None = None
        self._folder: Path | None = None
        self._weights: str | None = None  # the server's name of the weights that it was sent; vLLM has none
        self._loading = threading.Lock()
        self.seed(0)
        self.clear()

    def seed(self, seed: int) -> None:
        """See `RolloutEngine.seed`."""
        self._seed, self._begun = seed, 0

    def sync_weights(self, version: int) -> None:
        """Send the weights unless the server has this version; it responds once it samples with them."""
        if version == self._version:
            return
        folder = self._parent / f"weights-{version}"
        self._remove()
        self._folder = folder  # before a failure, so that `close` removes it
        self._write(folder)
        self._load(folder)
        self._version = version

    def clear(self) -> None:
        """See `RolloutEngine.clear`. The numbering of episodes continues, so that no two share a random stream."""
        self._ids: dict[int, list[int]] = {}  # tokens so far, by slot
        self._draws: dict[int, tuple[str | int, int]] = {}  # stream and index of the next action
        self._asked: dict[int, Future[Sampled]] = {}  # actions that are requested, by slot

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """See `RolloutEngine.start`."""
        self._ids[slot], self._draws[slot] = list(ids), (self._begun if stream is None else stream, 0)
        self._begun += 1

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """See `RolloutEngine.append`."""
        self._ids[slot].extend(ids)

    def remaining_tokens(self, slot: int) -> int:
        """See `RolloutEngine.remaining_tokens`."""
        return self._context - len(self._ids[slot])

    def fork(self, source: int, target: int, stream: str | int) -> None:
        """See `RolloutEngine.fork`. The server's prefix cache has the tokens of the source."""
        self._ids[target], self._draws[target] = list(self._ids[source]), (stream, self._draws[source][1])

    def free(self, slot: int) -> None:
        """See `RolloutEngine.free`. A response that is still to come is dropped."""
        del self._ids[slot], self._draws[slot]
        asked = self._asked.pop(slot, None)
        if asked is not None:
            asked.cancel()

    def request(self, slots: Sequence[int]) -> None:
        """See `RolloutEngine.request`. Each action is a request, which is sent at once."""
        if not self._model and any(self.remaining_tokens(slot) > 0 for slot in slots):
            self._model = self._first_model()
        self._asked |= {slot: self._pool.submit(self._act, list(self._ids[slot]), *self._draws[slot]) for slot in slots}

    def decode(self) -> dict[int, Sampled]:
        """See `RolloutEngine.decode`. Waits for at least one response."""
        if not self._asked:
            return {}
        wait(self._asked.values(), return_when=FIRST_COMPLETED)
        sampled = {slot: self._asked[slot].result() for slot, future in list(self._asked.items()) if future.done()}
        for slot, action in sampled.items():
            del self._asked[slot]
            if not action.overflow:
                stream, number = self._draws[slot]
                self._ids[slot].extend(action.ids)
                self._draws[slot] = stream, number + 1
        return sampled

    def close(self) -> None:
        """Close the connections and remove the weights that were sent last."""
        self._pool.shutdown(cancel_futures=True)
        self._http.close()
        self._remove()

    def _act(self, ids: Sequence[int], stream: str | int, action: int) -> Sampled:
        """Return an action that continues these tokens; runs on a thread, and changes nothing."""
        max_tokens = min(self._sampling.max_action_tokens, self._context - len(ids))
        if max_tokens < 1:
            return Sampled([], [], stopped=False, overflow=True)
        request = {
            **_PLAIN,
            "model": self._model,
            "prompt": ids,
            "max_tokens": max_tokens,
            "stop_token_ids": [self._stop],
            "seed": action_seed(self._seed, stream, action),
        }
        for _ in range(_RETRIES + 1):
            wanted = self._weights
            sampled, weights = self._read(self._ask("/v1/completions", request), ids)
            if None in (wanted, weights) or weights in (wanted, self._weights):
                return sampled
            with self._loading:
                if self._weights == wanted and self._folder is not None:  # else another thread has sent them
                    self._load(self._folder)
        raise self._wrong("has other weights each time they are sent", "let no other run use it")

    def _read(self, response: httpx.Response, prompt: Sequence[int]) -> tuple[Sampled, str | None]:
        """Return the action in a response, and the server's name of its weights.

        Raises:
            EngineError: The response would give wrong gradients.
        """
        try:
            body = response.json()
            (choice,) = body["choices"]
            ids, scores = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
            prompt_ids = choice.get("prompt_token_ids")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._wrong("did not answer as a completions server does", "is this its address?") from None
        if not ids or prompt_ids is None:
            raise self._wrong("returned no token ids", "it must know `return_token_ids` (vLLM 0.10.2 or newer)")
        if list(prompt_ids) != list(prompt):
            raise self._wrong("changed the prompt's tokens", "serve the model whose tokenizer this run uses")
        if not scores:
            raise self._wrong("returned no log-probabilities", "start it without `--max-logprobs` (vLLM)")
        if len(scores) != len(ids) or not all(isinstance(s, int | float) and math.isfinite(s) for s in scores):
            raise self._wrong("did not give every token a finite log-probability", "see `--logprobs-mode` (vLLM)")
        stopped = ids[-1] == self._stop
        if choice.get("finish_reason") == "stop" and not stopped:
            raise self._wrong("ended an action without its stop token", "it must know `ignore_eos`, `stop_token_ids`")
        return Sampled([int(i) for i in ids], [float(s) for s in scores], stopped), body.get("system_fingerprint")

    def _remove(self) -> None:
        """Remove the weights that were sent last: the server has read them, or the run has failed."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _load(self, folder: Path) -> None:
        """Make the server load the weights in a folder and reset its prefix cache."""
        try:
            call = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
            loaded = self._ask("/collective_rpc", call)
            self._ask("/reset_prefix_cache", {})
        except EngineError as error:
            remedy = f"start vLLM with VLLM_SERVER_DEV_MODE=1 where it sees {folder.parent}, in a trusted network"
            raise EngineError(f"the server did not receive the new weights: {error}; {remedy}") from error
        try:
            (self._weights,) = loaded.json()["results"]
        except (KeyError, TypeError, ValueError):
            self._weights = None

    def _first_model(self) -> str:
        try:
            return str(self._ask("/v1/models").json()["data"][0]["id"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._wrong("names no model", "is this its address?") from None

    def _ask(self, path: str, payload: Mapping[str, Any] | None = None) -> httpx.Response:
        """Return the server's response to a POST, without a payload to a GET, with up to `_RETRIES` retries."""
        method = "GET" if payload is None else "POST"
        for attempt in range(_RETRIES + 1):
            try:
                response = self._http.request(method, self._url + path, json=payload)
                if response.is_success:
                    return response
                failure = f"HTTP {response.status_code}: {response.text[:300]}"
                if response.status_code not in _TRANSIENT:
                    break
            except httpx.TransportError as error:
                failure = f"{type(error).__name__}: {error}"
            if attempt < _RETRIES:
                time.sleep(_FIRST_WAIT * 2**attempt)
        raise EngineError(f"{self._url}{path}: {failure}")

    def _wrong(self, fault: str, remedy: str) -> EngineError:
        return EngineError(f"the rollout server {self._url} {fault}; {remedy}")
