"""HTTP transports of the client: `http.client` for plain HTTP, httpx for TLS and proxies."""

import http.client
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.request import getproxies, proxy_bypass

import httpx

from steptool_env.errors import ToolTransportError

MAX_REPLY_BYTES = 64 * 2**20
"""Maximum length of a reply, with its head where `http.client` reads it."""


_PART_BYTES = 2**16
_FRESH = 0.99  # of the time-out is left: most replies, for which the time-out of the socket is right


class TransportError(ToolTransportError):
    """A request or its reply was lost."""


class NoServerError(TransportError):
    """No connection was accepted, so the server is unreachable or restarts."""


class ReplyTooLargeError(TransportError):
    """The reply has more than `MAX_REPLY_BYTES`."""


class Reply(NamedTuple):
    """HTTP status, the header `Retry-After` (empty without one) and the body."""

    status: int
    retry_after: str
    content: bytes


class Transport(Protocol):
    """Sends requests to one server over connections that are kept.

    Safe to use from several threads, and after a fork.
    """

    def send(self, path: str, content: bytes | None = None) -> Reply:
        """Post `content` as JSON to `path`, or get `path` without content.

        Raises:
            NoServerError: No connection was accepted.
            ReplyTooLargeError: The reply is too long.
            TransportError: The request or its reply was lost, or the time-out passed before the end of the reply.
        """

    def close(self) -> None:
        """Close the connections; the transport is not used afterwards."""


MakeTransport = Callable[[str, Mapping[str, str], float], Transport]
"""Makes a transport from a URL, request headers and a timeout in seconds, for a whole exchange."""


def make_transport(url: str, headers: Mapping[str, str], timeout: float) -> Transport:
    """The transport to the server at `url`.

    `http.client` takes a fifth of httpx's time for an exchange (`benchmarks.speed.transports`). TLS, proxies (of the
    environment, as httpx finds them) and names in the address are left to httpx.

    Args:
        url: Address of the server, without a trailing slash.
        headers: Headers of each request.
        timeout: Seconds to wait for a connection, and for the end of the reply after that.
    """
    parsed = httpx.URL(url)
    proxied = not {"http", "all"}.isdisjoint(getproxies()) and not proxy_bypass(parsed.host)
    if parsed.scheme == "http" and not proxied and not parsed.userinfo:
        return PlainTransport(url, headers, timeout)
    return HttpxTransport(url, headers, timeout)


class HttpxTransport:
    """A transport over httpx.

    httpx limits the time of each read and not of a reply. A timer closes the connections once the time-out has passed,
    which ends an exchange at its next byte, and other exchanges of the same time; they can be repeated.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        self._url = url
        self._headers = {"content-type": "application/json", "accept-encoding": "identity", **headers}
        self._timeout = timeout
        self._client, self._process = self._connect(), os.getpid()

    def send(self, path: str, content: bytes | None = None) -> Reply:
        """See `Transport.send`."""
        if self._process != os.getpid():  # forked: the parent process uses these connections
            self._client.close()
            self._client, self._process = self._connect(), os.getpid()
        client, method = self._client, "GET" if content is None else "POST"
        timer = threading.Timer(self._timeout, self._give_up, [client])
        timer.start()
        try:
            with client.stream(method, self._url + path, content=content) as response:
                parts, size = [], 0
                for part in response.iter_raw():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_REPLY_BYTES:
                        raise _too_large()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            kind = NoServerError if isinstance(error, httpx.ConnectError) else TransportError
            raise kind(f"{type(error).__name__}: {error}") from error
        except (httpx.TransportError, httpx.StreamError) as error:
            if client is not self._client:
                raise TransportError(f"Timeout: no whole reply within {self._timeout:g} seconds") from error
            raise TransportError(f"{type(error).__name__}: {error}") from error
        finally:
            timer.cancel()
        return Reply(response.status_code, response.headers.get("retry-after", ""), b"".join(parts))

    def close(self) -> None:
        """See `Transport.close`."""
        self._client.close()

    def _connect(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, timeout=self._timeout)

    def _give_up(self, client: httpx.Client) -> None:
        if client is self._client:
            self._client = self._connect()
        client.close()


class _TimedSocket(socket.socket):
    """Socket that is read until a deadline. The time-out of a socket alone starts again at every byte."""

    deadline = 0.0

    def begin(self, timeout: float) -> None:
        """Set the deadline to `timeout` seconds from now."""
        self.deadline = time.monotonic() + timeout
        if self.gettimeout() != timeout:
            self.settimeout(timeout)

    def recv_into(self, *args: Any) -> int:
        """See `socket.socket.recv_into`. Raises `TimeoutError` at the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if left < _FRESH * (self.gettimeout() or left):  # setting it is a system call
            self.settimeout(left)
        return super().recv_into(*args)


class _Connection(http.client.HTTPConnection):
    """Connection whose replies end at a deadline."""

    sock: _TimedSocket | None

    def begin(self, timeout: float) -> None:
        """Connect if necessary, and start the time of an exchange."""
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        self.sock.begin(timeout)

    def connect(self) -> None:
        """See `http.client.HTTPConnection.connect`. Raises `NoServerError` if no connection is accepted."""
        try:
            super().connect()
        except TimeoutError:
            raise
        except OSError as error:  # refused, no route, or no address for the name
            raise NoServerError(f"{type(error).__name__}: {error}") from error
        assert self.sock is not None
        self.sock = _TimedSocket(fileno=self.sock.detach())


class PlainTransport:
    """A transport over `http.client`, for plain HTTP without a proxy."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        parsed = httpx.URL(url)
        self._prefix = parsed.raw_path.decode().rstrip("/")
        self._host, self._port = parsed.raw_host.decode(), parsed.port
        self._headers = {"content-type": "application/json", "accept": "application/json", **headers}
        self._timeout = timeout
        self._idle: list[_Connection] = []  # `append` and `pop` are atomic
        self._process = os.getpid()

    def send(self, path: str, content: bytes | None = None) -> Reply:
        """See `Transport.send`."""
        connection = self._connection()
        try:
            connection.begin(self._timeout)
            method = "GET" if content is None else "POST"
            connection.request(method, self._prefix + path, content, self._headers)
            response = connection.getresponse()
            reply = Reply(response.status, response.headers.get("retry-after", ""), _read(response))
        except TransportError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise TransportError(f"{type(error).__name__}: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return reply

    def close(self) -> None:
        """See `Transport.close`."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> _Connection:
        """An idle connection, or a new one, which connects when it is used."""
        if self._process != os.getpid():  # forked: the parent process uses these connections
            self.close()
            self._process = os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # popped by another thread
                break
            if not _is_stale(connection):
                return connection
            connection.close()
        return _Connection(self._host, self._port, timeout=self._timeout)


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body. Memory is never taken for a length that is only announced."""
    if response.length is not None:
        if response.length > MAX_REPLY_BYTES:
            raise _too_large()
        return response.read()
    parts, size = [], 0
    while part := response.read(_PART_BYTES):
        parts.append(part)
        size += len(part)
        if size > MAX_REPLY_BYTES:
            raise _too_large()
    return b"".join(parts)


def _too_large() -> ReplyTooLargeError:
    return ReplyTooLargeError(f"the reply has more than {MAX_REPLY_BYTES} bytes")


def _is_stale(connection: http.client.HTTPConnection) -> bool:
    """True if the server has closed the connection, or has sent data that no request asked for."""
    if connection.sock is None:  # closed after its last reply, as the server asked
        return True
    poll = select.poll()  # unlike `select.select`, it takes any number of open files
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
