"""Whole requests that are known by their bytes, and whole answers to them.

A recording does not change while it is served. So once a request was answered from the record, the same bytes on
another or the same connection get the same bytes back, and nothing needs to be parsed, not even HTTP. An ASGI
application never sees a request's bytes; `toolserver.protocol` does, and asks here before it parses.
"""

from __future__ import annotations

from time import perf_counter

from toolserver.metrics import Meter
from toolserver.schemas import ToolResponse
from toolserver.wire import RawHeaders

MEMORY = "toolserver.recall"
"""Where the application leaves its `RequestMemory` in the state of its lifespan."""

RAW_REQUEST = "toolserver.raw_request"
"""Where the protocol leaves the bytes of a request in its scope: those that may be known when they come again."""

_PATH = "/virtual"  # the only path whose answers are kept
_ENTRIES = 8192
_LENGTH = 4096  # bytes of request and of answer


class RequestMemory:
    """Answers to requests of `/virtual`, by the bytes of the requests.

    Args:
        meter: Counts what is answered from here.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._known: dict[bytes, tuple[bytes, ToolResponse]] = {}

    def answer(self, request: bytes) -> bytes | None:
        """The whole answer to a whole request, or `None` when it is not known."""
        known = self._known.get(request)
        if known is None:
            return None
        started = perf_counter()
        self._meter.count_call(_PATH, known[1], True)
        self._meter.count_request(_PATH, 200, perf_counter() - started)
        return known[0]

    def keep(self, request: bytes, headers: RawHeaders, response: ToolResponse) -> None:
        """Keep the answer to a request, unless one of them is long.

        `headers` are those of the answer, all of them: the server must add none. The connection stays open after it.
        """
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        answer = b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (lines, response.body)
        if max(len(request), len(answer)) > _LENGTH:
            return
        if len(self._known) >= _ENTRIES:
            self._known.clear()  # as in the hot path: starting over costs a hit nothing
        self._known[request] = answer, response
