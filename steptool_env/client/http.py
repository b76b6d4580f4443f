"""Client for tools behind a tool server."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import httpx
import orjson

from steptool_env.client.transport import MakeTransport, Reply, TransportError, make_transport
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.suites.server_match import ServedSuite
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse

API_KEY_VARIABLE = "STEPTOOL_API_KEY"
"""Environment variable of the API key; an environment's arguments do not hold it, because its spec shows them."""

_CALLS, _INFO = "/v1/calls", "/v1/info"
_OK, _UNAUTHORIZED, _NOT_FOUND, _TOO_LARGE = 200, 401, 404, 413
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_BUSY = frozenset({429, 503})
_CHECK_SECONDS = 10.0
_PARTS, _SMALLEST_PART = 4, 64  # requests of a stream, and calls of one
_FIRST_WAIT = 0.1  # seconds; doubled with every further try
_LONGEST_WAIT = 5.0
# `Outcome(value)` takes several times as long.
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_PROVENANCES = {provenance.value: provenance for provenance in Provenance}


class _TooLargeError(ToolTransportError):
    """The server takes fewer calls, or fewer bytes, in one request."""


class HttpToolClient:
    """Sends all calls of a step in one request to `/v1/calls`, or in a few at once, over connections that are kept.

    The server keeps no session, so a request whose answer was lost can be sent again: connection errors, time-outs and
    HTTP 408, 429, 500, 502, 503 and 504 are retried with exponential backoff of at most 5 seconds, also where
    `Retry-After` asks for more. Calls that are too many or too long for one request are
    sent in two halves. Safe to use from several threads.

    With a `suite` the first call requests `GET /v1/info`, once, and refuses tools of another world or version.

    Args:
        url: Address of the server, e.g. `http://127.0.0.1:8000`.
        suite: The tasks whose tools the server must have; `None` accepts any server.
        timeout: Seconds to wait for the connection and for each part of the answer.
        retries: Number of further tries.
        max_batch: Maximum number of calls in one request; servers have a limit too.
        sleep: Waits between tries.
        transport: Makes the HTTP transport.

    Raises:
        ConfigurationError: `url` is not an http(s) URL.
    """

    def __init__(
        self,
        url: str,
        *,
        suite: ServedSuite | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        max_batch: int = 1024,
        sleep: Callable[[float], None] = time.sleep,
        transport: MakeTransport = make_transport,
    ) -> None:
        self.url = _checked(url)
        self.timeout = timeout
        self.retries = retries
        self.max_batch = max_batch
        self._suite = suite
        self._verified = suite is None
        self._verifying = threading.Lock()
        self._sleep = sleep
        self._make_transport = transport
        self._transport = transport(self.url, _key_header(), timeout)

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """See `ToolClient.call_many`.

        Raises:
            ConfigurationError: The server has the tools of another world or version.
        """
        if calls:
            self._verify()
        responses: list[ToolResponse] = []
        for start in range(0, len(calls), self.max_batch):
            responses += self._exchange(calls[start : start + self.max_batch])
        return responses

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        """See `ToolClient.stream`. All requests are sent at once: the server answers while the first are used."""
        size = min(max(-(-len(calls) // _PARTS), _SMALLEST_PART), self.max_batch)
        parts = [calls[start : start + size] for start in range(0, len(calls), size)]
        if len(parts) < 2:
            yield from self.call_many(calls)
            return
        self._verify()
        # New threads for each stream: they cost little beside it, and a process that is forked later inherits none.
        with ThreadPoolExecutor(_PARTS) as threads:
            for answers in threads.map(self.call_many, parts):
                yield from answers

    def check(self) -> None:
        """Send one request without calls; a busy server (429, 503) passes.

        Raises:
            ToolTransportError: No tool server answers, or it refuses the API key. The text has the remedy.
            ConfigurationError: The server has the tools of another world or version.
        """
        timeout = min(self.timeout, _CHECK_SECONDS)
        try:
            with closing(self._make_transport(self.url, _key_header(), timeout)) as transport:
                reply = transport.send(_CALLS, b"[]")
        except TransportError as error:
            raise self._absent(str(error)) from error
        if reply.status == _UNAUTHORIZED:
            raise ToolTransportError(f"{self.url}: {_complaint(reply)}")
        if reply.status not in _BUSY and (reply.status, reply.content) != (_OK, b"[]"):
            raise self._absent(_complaint(reply))
        if reply.status == _OK:
            self._verify()

    def _verify(self) -> None:
        """Compare the server with the suite, once."""
        with self._verifying:
            if self._verified or self._suite is None:
                return
            match = self._suite.server_match
            with closing(self._make_transport(self.url, _key_header(), self.timeout)) as transport:
                reply = self._send(partial(transport.send, _INFO), frozenset({_OK, _NOT_FOUND}))
            if reply.status == _OK:
                match.check(self.url, _read_info(self.url, reply.content))
            elif not match.optional:
                raise match.absent(self.url)
            self._verified = True

    def _absent(self, found: str) -> ToolTransportError:
        remedy = "start one (toolserver serve --help), or leave out the server's URL to have the tools in this process"
        return ToolTransportError(f"no tool server answers at {self.url} ({found}); {remedy}")

    def close(self) -> None:
        """See `ToolClient.close`."""
        self._transport.close()

    def _exchange(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        try:
            content = self._send(partial(self._transport.send, _CALLS, _encode(calls)), frozenset({_OK})).content
        except _TooLargeError:
            if len(calls) == 1:
                raise
            half = len(calls) // 2
            return self._exchange(calls[:half]) + self._exchange(calls[half:])
        try:
            elements = orjson.loads(content)
            responses = [_read(element) for element in elements]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolTransportError(f"{self.url} did not answer as a tool server does: {error!r}") from error
        if len(responses) != len(calls):
            raise ToolTransportError(f"{self.url} answered {len(responses)} of {len(calls)} calls")
        return responses

    def _send(self, request: Callable[[], Reply], accepted: frozenset[int]) -> Reply:
        """The reply to a request, tried again as often as `retries` allows."""
        for attempt in range(self.retries + 1):
            failure, wait = "", _FIRST_WAIT * 2**attempt
            try:
                reply = request()
            except TransportError as error:
                failure = str(error)
            else:
                if reply.status in accepted:
                    return reply
                failure, wait = _complaint(reply), _asked_wait(reply, wait)
                if reply.status == _TOO_LARGE:
                    raise _TooLargeError(f"{self.url}: {failure}")
                if reply.status not in _TRANSIENT:
                    break
            if attempt < self.retries:
                self._sleep(min(wait, _LONGEST_WAIT))
        raise ToolTransportError(f"{self.url}: {failure}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_transport", "_verifying"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._verified = self._suite is None
        self._verifying = threading.Lock()
        self._transport = self._make_transport(self.url, _key_header(), self.timeout)


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(f"server_url={url!r}: {error}; write it like http://127.0.0.1:8000") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigurationError(f"server_url={url!r}: not an http(s) URL; write it like http://127.0.0.1:8000")
    return url.rstrip("/")


def _key_header() -> dict[str, str]:
    key = os.environ.get(API_KEY_VARIABLE, "")
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"{API_KEY_VARIABLE} holds a line break or another character that a header cannot have; remove it "
            "(a key from a file often ends in a line break)"
        )
    return {"authorization": f"Bearer {key}"} if key else {}


def _read_info(url: str, content: bytes) -> dict[str, Any]:
    try:
        info = orjson.loads(content)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise ToolTransportError(f"{url}/v1/info did not answer as a tool server does: {content[:80]!r}")
    return info


def _encode(calls: Sequence[ToolCall]) -> bytes:
    elements = [
        {"category": category, "tool": tool, "api": api, "arguments": arguments, "state": state}
        for category, tool, api, arguments, state, _ in calls
    ]
    try:
        return orjson.dumps(elements)
    except TypeError:  # a lone surrogate in a model's text, which only an escape can carry
        return json.dumps(elements).encode()


def _read(element: dict[str, Any]) -> ToolResponse:
    return ToolResponse(
        element["body"].encode(),
        _OUTCOMES[element["outcome"]],
        _PROVENANCES[element["provenance"]],
        element["state"],
        element["latency"],
    )


def _complaint(reply: Reply) -> str:
    remedy = f"; set {API_KEY_VARIABLE} to one of its keys" if reply.status == _UNAUTHORIZED else ""
    return f"HTTP {reply.status}: {reply.content[:800].decode(errors='replace')[:200]}{remedy}"


def _asked_wait(reply: Reply, default: float) -> float:
    """Seconds of the header `Retry-After`, else `default`."""
    asked = reply.retry_after
    return float(asked) if asked.isascii() and asked.isdigit() else default
