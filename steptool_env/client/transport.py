"""How requests get to a tool server: over a bare connection where nothing stands between, else by httpx."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.request import getproxies, proxy_bypass

import httptools
import httpx

from steptool_env.errors import ToolTransportError

_PIECE = 2**18  # bytes that are read at once
_FINAL = 200  # the first status that is not followed by another answer


class WireError(ToolTransportError):
    """A request or its answer got lost; says how."""


class Reply(NamedTuple):
    """What came back: HTTP status, the header `Retry-After` (empty where there is none) and the body."""

    status: int
    retry_after: str
    content: bytes


class Transport(Protocol):
    """Posts JSON to one address, over connections that are kept. Safe to use from several threads."""

    def post(self, content: bytes) -> Reply:
        """Send `content` and wait for the reply. Raises `WireError` when one of them gets lost."""
        ...

    def close(self) -> None:
        """Close the connections; the wire is not used afterwards."""
        ...


def connect(url: str, headers: Mapping[str, str], timeout: float) -> Transport:
    """A wire to `url`, with `headers` beside those of JSON.

    Plain HTTP to the server itself goes over a bare connection. TLS, proxies (of the environment, as httpx finds them)
    and names in the address are httpx's; one exchange takes it several times as long.

    Args:
        url: The address, path included.
        headers: They go with each request.
        timeout: Seconds to wait for a connection and for each part of a reply.
    """
    parsed = httpx.URL(url)
    proxied = not {"http", "all"}.isdisjoint(getproxies()) and not proxy_bypass(parsed.host)
    headers = {"content-type": "application/json", **headers}
    if parsed.scheme == "http" and not proxied and not parsed.userinfo:
        return BareWire(parsed, headers, timeout)
    return HttpxWire(url, headers, timeout)


class HttpxWire:
    """A wire over httpx."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        self._url = url
        self._http = httpx.Client(headers=headers, timeout=timeout)

    def post(self, content: bytes) -> Reply:
        """See `Transport.post`."""
        try:
            response = self._http.post(self._url, content=content)
        except httpx.TransportError as error:
            raise WireError(f"{type(error).__name__}: {error}") from error
        return Reply(response.status_code, response.headers.get("retry-after", ""), response.content)

    def close(self) -> None:
        """See `Transport.close`."""
        self._http.close()


class BareWire:
    """A wire over sockets of its own."""

    def __init__(self, url: httpx.URL, headers: Mapping[str, str], timeout: float) -> None:
        lines = {"host": url.netloc.decode(), "user-agent": "steptool-env", "accept": "application/json", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._head = b"POST %b HTTP/1.1\r\n%bcontent-length: " % (url.raw_path, head.encode("ascii"))
        self._address = url.raw_host.decode(), url.port or 80
        self._timeout = timeout
        self._idle: list[_Connection] = []  # its `append` and `pop` are atomic
        self._process = os.getpid()

    def post(self, content: bytes) -> Reply:
        """See `Transport.post`."""
        try:
            connection = self._free() or _Connection(self._address, self._timeout)
            try:
                answer = connection.exchange(b"%b%d\r\n\r\n%b" % (self._head, len(content), content))
            except BaseException:
                connection.close()
                raise
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise WireError(f"{type(error).__name__}: {error}") from error
        if answer.keeps_connection:
            self._idle.append(connection)
        else:
            connection.close()
        return answer.reply

    def close(self) -> None:
        """See `Transport.close`."""
        while self._idle:
            self._idle.pop().close()

    def _free(self) -> _Connection | None:
        """A connection that is open and not in use."""
        if self._process != os.getpid():  # forked: the other process goes on with these connections
            self.close()
            self._process = os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.is_open():
                return connection
            connection.close()
        return None


class _Connection:
    """One connection to the server."""

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self._socket = socket.create_connection(address, timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = select.poll()  # unlike `select.select`, it takes any number of open files
        self._input.register(self._socket, select.POLLIN)
        self.close = self._socket.close

    def is_open(self) -> bool:
        """Whether it can take a request: what can be read before anything was asked is the server's end."""
        return not self._input.poll(0)

    def exchange(self, request: bytes) -> _Answer:
        """Send a request and read the answer. Raises `ConnectionError` when the answer ends before it is whole."""
        self._socket.sendall(request)
        answer = _Answer()
        while not answer.whole:
            data = self._socket.recv(_PIECE)
            if data:
                answer.feed(data)
            elif answer.ends_with_connection:
                break
            else:
                raise ConnectionResetError("the server closed the connection before its answer was whole")
        return answer


class _Answer:
    """One answer as it comes in. The parser calls the methods whose names begin with `on_`.

    Answers that only announce another (1xx) are passed over. What comes behind the answer is not part of it, and makes
    the connection unfit for another request.
    """

    def __init__(self) -> None:
        self.whole = False
        self.ends_with_connection = False
        self.keeps_connection = False
        self._status = 0
        self._retry_after = ""
        self._parts: list[bytes] = []
        self._has_length = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def reply(self) -> Reply:
        """What came."""
        return Reply(self._status, self._retry_after, b"".join(self._parts))

    def feed(self, data: bytes) -> None:
        """Read what came. Raises `httptools.HttpParserError` when it is no answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.keeps_connection = False
            if not self.whole:
                raise

    def on_message_begin(self) -> None:
        """An answer begins."""
        self.keeps_connection = self._has_length = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        name = name.lower()
        if name == b"retry-after" and not self.whole:
            self._retry_after = value.decode("latin-1")
        elif name in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """All headers have come."""
        if not self.whole:
            self._status = self._parser.get_status_code()
            self.ends_with_connection = self._status >= _FINAL and not self._has_length

    def on_body(self, part: bytes) -> None:
        """A part of the body has come."""
        if not self.whole:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        """An answer is complete."""
        if not self.whole and self._status >= _FINAL:
            self.whole = True
            self.keeps_connection = self._parser.should_keep_alive()  # it tells so at this moment only
