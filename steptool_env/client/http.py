"""Client for tools behind a tool server."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from math import inf
from typing import Any

import orjson

from steptool_env.client.retries import API_KEY_VARIABLE, OK, UNAUTHORIZED, Retries, TooLargeError, complaint
from steptool_env.client.transport import MakeTransport, Reply, TransportError, make_transport
from steptool_env.client.urls import checked_url
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.suites.server_match import ServedSuite
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse

_CALLS, _INFO = "/v1/calls", "/v1/info"
_NOT_FOUND = 404
_BUSY = frozenset({429, 503})
_CHECK_SECONDS = 10.0
_PARTS, _SMALLEST_PART = 4, 64  # requests of a stream, and calls of one
# `Outcome(value)` takes several times as long.
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_PROVENANCES = {provenance.value: provenance for provenance in Provenance}
_NUMBERS = (float, int)


class HttpToolClient:
    """Sends all calls of a step in one request to `/v1/calls`, or in a few at once, over connections that are kept.

    The server keeps no session, so a request whose answer was lost is sent again (`Retries`). Calls that are too
    many or too long for one exchange are sent in two halves. Safe to use from several threads.

    With a `suite` the first call requests `GET /v1/info`, once, and refuses tools of another world or version. So does
    the first call after the server was unreachable.

    Args:
        url: Address of the server, e.g. `http://127.0.0.1:8000`.
        suite: The tasks whose tools the server must have; `None` accepts any server.
        timeout: Seconds to wait for the connection, and for the whole answer after that.
        retries: Number of further tries.
        reconnect: Seconds of waiting for a server that accepts no connection.
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
        reconnect: float = 30.0,
        max_batch: int = 1024,
        sleep: Callable[[float], None] = time.sleep,
        transport: MakeTransport = make_transport,
    ) -> None:
        self.url = checked_url("server_url", url, "http://127.0.0.1:8000")
        self.timeout = timeout
        self.max_batch = max_batch
        self._suite = suite
        self._verified = suite is None
        self._verifying = threading.Lock()
        self._retries = Retries(self.url, retries, reconnect, sleep)
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
        if reply.status == UNAUTHORIZED:
            raise ToolTransportError(f"{self.url}: {complaint(reply)}")
        if reply.status not in _BUSY and (reply.status, reply.content) != (OK, b"[]"):
            raise self._absent(complaint(reply))
        if reply.status == OK:
            self._verify()

    def _verify(self) -> None:
        """Compare the server with the suite, once; again after it was unreachable."""
        if self._suite is None:
            return
        with self._verifying:
            if self._verified:
                return
            match = self._suite.server_match
            with closing(self._make_transport(self.url, _key_header(), self.timeout)) as transport:
                info = self._retries.send(partial(transport.send, _INFO), _read_info, frozenset({OK, _NOT_FOUND}))
            if info is not None:
                match.check(self.url, info)
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
            request = partial(self._transport.send, _CALLS, _encode(calls))
            answers = self._retries.send(request, partial(_read_answers, calls), on_unreachable=self._forget_server)
        except TooLargeError:
            if len(calls) == 1:
                raise
            half = len(calls) // 2
            return self._exchange(calls[:half]) + self._exchange(calls[half:])
        self._verify()
        return answers

    def _forget_server(self) -> None:
        """Compare the next server with the suite: another one may start at the address."""
        self._verified = self._suite is None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_transport", "_verifying"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_server()
        self._verifying = threading.Lock()
        self._transport = self._make_transport(self.url, _key_header(), self.timeout)


def _key_header() -> dict[str, str]:
    key = os.environ.get(API_KEY_VARIABLE, "")
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"{API_KEY_VARIABLE} holds a line break or another character that a header cannot have; remove it "
            "(a key from a file often ends in a line break)"
        )
    return {"authorization": f"Bearer {key}"} if key else {}


def _read_info(reply: Reply) -> dict[str, Any] | None:
    if reply.status == _NOT_FOUND:
        return None
    try:
        info = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        info = None
    if not isinstance(info, dict):
        raise ValueError(f"{_INFO} is {reply.content[:80]!r}")
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


def _read_answers(calls: Sequence[ToolCall], reply: Reply) -> list[ToolResponse]:
    """The responses in a reply. Raises `ValueError`, `KeyError` or `TypeError` for anything but one answer per call."""
    elements = orjson.loads(reply.content)
    if type(elements) is not list or len(elements) != len(calls):
        found = f"{len(elements)} answers" if type(elements) is list else f"{reply.content[:80]!r}"
        raise ValueError(f"{found} to {len(calls)} calls")
    return [_read(element, call) for element, call in zip(elements, calls, strict=True)]


def _read(element: Any, call: ToolCall) -> ToolResponse:
    """The response in one element of an answer. A wrong field would score the episode wrongly, so each is checked."""
    body, state, latency = element["body"], element["state"], element["latency"]
    if type(body) is not str:
        raise ValueError("body is not a string")
    if type(state) is not str or not state.isascii() or (call.state and not state):
        raise ValueError("state is not the token of the episode")
    if type(latency) not in _NUMBERS or not 0 <= latency < inf:
        raise ValueError("latency is not a number of seconds")
    outcome, provenance = _OUTCOMES.get(element["outcome"]), _PROVENANCES.get(element["provenance"])
    if outcome is None or provenance is None:
        raise ValueError("outcome or provenance is not a documented value")
    return ToolResponse(body.encode(), outcome, provenance, state, latency)
