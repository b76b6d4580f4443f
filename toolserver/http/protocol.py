"""HTTP/1.1 connections of uvicorn with bounds on memory and time, which hold before a caller is authenticated.

uvicorn has options for the time between two requests and for the number of requests, but none for the size of a head,
for the time until it is complete, for a pipeline or for connections without a request.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_PIECE = 4096
"""Bytes that are parsed at once: the requests in them are the longest pipeline that is held parsed."""


class ConnectionLimits(NamedTuple):
    """Limits of the connections of one worker.

    Attributes:
        head_bytes: Maximum size of a request head; up to 4 KiB more may be read.
        head_timeout: Seconds until a head must be complete; also the longest time without a request.
        request_timeout: Seconds until a body must be complete; also the longest time without reading an answer.
        connections: Maximum number of simultaneous connections.
    """

    head_bytes: int
    head_timeout: float
    request_timeout: float
    connections: int


class Http1Protocol(HttpToolsProtocol):
    """HTTP protocol of one connection, which stays HTTP/1.1 unless a WebSocket begins.

    A request with a body that asks for another protocol is answered with 400, and the connection is closed.
    """

    def _unsupported_upgrade_warning(self) -> None:
        """Refuse a body after a head with `Upgrade`: httptools reads none there, and would take it for a request."""
        fields = dict(self.headers)
        if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
            self.send_400_response("A request with a body cannot change the protocol: leave out the header Upgrade.")


class BoundedProtocol(Http1Protocol):
    """`Http1Protocol` with limits.

    * A head above the limit is answered with 431, a connection above the limit with 503; both are closed.
    * While parsed requests wait for their turn, nothing more is parsed or read.
    * A connection is closed when it completes no head in time, no body (408), or does not read its answer. One timer
      per connection checks this, since a timer per request costs more. So a connection that was active is closed after
      one to two times the limit.
    """

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._head_limit = limits.head_bytes
        self._held = 0  # bytes of a head, or of fields after a body, that the parser holds
        self._latest: object = None  # the request whose head was completed last
        self._unparsed = b""
        self._seen: tuple[object, bool] = (None, False)
        self._active_at = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse a connection above the limit, and begin to check the others."""
        super().connection_made(transport)
        self.flow = _PipelineFlow(transport, self)
        if len(self.connections) > self._limits.connections:
            self._refuse(503)
        self._check_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the checks."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, up to the first request that has to wait for another one."""
        if self.pipeline or self._unparsed or len(data) > _PIECE:
            self._unparsed += data  # at most one read, since reading pauses
            self.parse_rest()
            return
        self._held += len(data)
        HttpToolsProtocol.data_received(self, data)  # `super()` costs a request 0.1 us more
        if self.cycle is not self._latest:
            self._latest, self._held = self.cycle, 0
        elif self._held > self._head_limit and not self.transport.is_closing():
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Begin a request, whose response is written by `_Response`."""
        before = self.cycle
        HttpToolsProtocol.on_headers_complete(self)
        if self.cycle is not before:
            self.cycle.transport = cast(asyncio.Transport, _Response(self.transport, self.loop))

    def shutdown(self) -> None:
        """Close the connection when its response is complete, after a head that waits to be written."""
        if self.cycle is not None:
            cast(_Response, self.cycle.transport).flush()
        super().shutdown()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which the application bounds."""
        self._held = 0
        HttpToolsProtocol.on_body(self, body)

    def parse_rest(self) -> None:
        """Parse bytes that were read while a request waited, until one waits again."""
        data, self._unparsed = self._unparsed, b""
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            if self.pipeline:
                self._unparsed = data[start:]
                return
            self.data_received(data[start : start + _PIECE])

    def _refuse(self, status: int) -> None:
        self.transport.write(STATUS_LINE[status] + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()

    def _check(self) -> None:
        """Close the connection if it exceeds a time limit, else check it again later."""
        now, before = self.loop.time(), self._seen
        unread = self.transport.get_write_buffer_size() > 0
        answered = self.cycle is None or self.cycle.response_complete
        incomplete = not answered and self.cycle.more_body
        self._seen = self.cycle, answered
        if self._seen != before or not (answered or unread or incomplete):  # the application bounds this
            self._active_at = now
        limit = self._limits.request_timeout if unread or incomplete else self._limits.head_timeout
        if now - self._active_at < limit:
            self._check_later()
        elif incomplete and not self.cycle.response_started:
            self._refuse(408)
        else:
            self.transport.abort()

    def _check_later(self) -> None:
        self._timer = self.loop.call_later(min(self._limits.head_timeout, self._limits.request_timeout), self._check)


class _Response:
    """Transport of one response, which writes the head together with what follows it at once.

    uvicorn writes head and body apart, and each write is a system call, the most expensive part of a short answer.
    """

    __slots__ = ("_begun", "_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._begun = False
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write data. The head waits for the body until the running callback ends."""
        if not self._begun:
            self._begun, self._head = True, data
            self._loop.call_soon(self.flush)
        elif self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection after what was written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return true if the connection is closed or being closed."""
        return self._transport.is_closing()

    def flush(self) -> None:
        """Write a head that waits for its body."""
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)


class _PipelineFlow(FlowControl):
    """Flow control that does not read while requests wait for their turn, even if a request asks for its body."""

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        super().__init__(transport)
        self._protocol = protocol
        self._pipeline = protocol.pipeline

    def resume_reading(self) -> None:
        if self.read_paused and not self._pipeline:
            # Later, since the caller may be about to take the next request from the pipeline.
            self._protocol.loop.call_soon(self._protocol.parse_rest)
            super().resume_reading()
