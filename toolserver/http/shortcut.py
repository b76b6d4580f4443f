"""The short cut: from a connection's bytes to the hot path, for requests whose head is known.

A client writes the same head again and again; only `Content-Length` differs, and that takes few values. What a head
means does not change while the server runs. So once a request went all the way through the parser and the front door
and was answered by the hot path, the same head on another or the same connection leads its body there at once, and
HTTP is not parsed. An ASGI application never sees a request's bytes; `toolserver.http.protocol` does and asks here.
"""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

from toolserver.http.call_routes import CallRoutes
from toolserver.http.metrics import Metrics

SHORTCUT = "toolserver.http.shortcut"
"""Where the application leaves its `Shortcut` in the state of its lifespan."""

RAW_REQUEST = "toolserver.raw_request"
"""Where the protocol leaves the bytes of a request in its scope: those whose head may be known when it comes again."""

_HEADS = 8192
_LENGTH = 2048  # bytes of a head
_END = b"\r\n\r\n"
_ANYBODY = 0  # the caller's number where nobody needs a key


class _Head(NamedTuple):
    """What the head of a request says: where it goes, and how long it is with its body."""

    path: str
    size: int


class Shortcut:
    """Answers whole requests by their bytes, where the head is known and the hot path need not wait.

    A head is compared byte for byte with one that the parser has read, and the body must be as long as that one said:
    so the parser would find the same request in the same bytes.

    Args:
        hot_path: Answers the bodies.
        meter: Counts requests.
    """

    def __init__(self, hot_path: CallRoutes, meter: Metrics) -> None:
        self._hot_path = hot_path
        self._meter = meter
        self._heads: dict[bytes, _Head] = {}

    def answer(self, data: bytes) -> bytes | None:
        """The whole answer to a whole request; `None` when the request must be parsed, for whatever reason."""
        started = perf_counter()
        end = data.find(_END) + len(_END)
        head = self._heads.get(data[:end])
        if head is None or head.size != len(data):
            return None
        reply = self._hot_path.answer_at_once(head.path, data[end:], _ANYBODY)
        if reply is None:
            return None
        self._meter.count_request(head.path, 200, perf_counter() - started)
        return reply.message()

    def learn(self, path: str, request: bytes, body: bytes) -> None:
        """Know the head of a request that the hot path answered, unless it is long.

        The connection stays open after it, and the server adds no headers to its answer.
        """
        end = request.find(_END) + len(_END)
        head = request[:end]
        if end > _LENGTH or head in self._heads:
            return
        if request[end:] != body:  # sent in chunks, or with blank lines before it
            return
        if len(self._heads) >= _HEADS:
            self._heads.clear()  # as in the hot path: starting over costs a hit nothing
        self._heads[head] = _Head(path, len(request))
