"""HTTP transports of the client: `http.client` for plain HTTP, httpx for TLS and proxies."""

import http.client
import os
import select
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol
from urllib.request import getproxies, proxy_bypass

import httpx

from steptool_env.errors import ToolTransportError


class TransportError(ToolTransportError):
    """A request or its reply was lost."""


class Reply(NamedTuple):
    """HTTP status, the header `Retry-After` (empty without one) and the body."""

    status: int
    retry_after: str
    content: bytes


class Transport(Protocol):
    """Sends requests to one server over connections that are kept. Safe to use from several threads."""

    def send(self, path: str, content: bytes | None = None) -> Reply:
        """Post `content` as JSON to `path`, or get `path` without content.

        Raises:
            TransportError: The request or its reply was lost.
        """

    def close(self) -> None:
        """Close the connections; the transport is not used afterwards."""


MakeTransport = Callable[[str, Mapping[str, str], float], Transport]
"""Makes a transport from a URL, request headers and a timeout in seconds."""


def make_transport(url: str, headers: Mapping[str, str], timeout: float) -> Transport:
    """The transport to the server at `url`.

    `http.client` takes a fifth of httpx's time for an exchange (`benchmarks.speed.transports`). TLS, proxies (of the
    environment, as httpx finds them) and names in the address are left to httpx.

    Args:
        url: Address of the server, without a trailing slash.
        headers: Headers of each request.
        timeout: Seconds to wait for a connection and for each part of a reply.
    """
    parsed = httpx.URL(url)
    proxied = not {"http", "all"}.isdisjoint(getproxies()) and not proxy_bypass(parsed.host)
    if parsed.scheme == "http" and not proxied and not parsed.userinfo:
        return PlainTransport(url, headers, timeout)
    return HttpxTransport(url, headers, timeout)


class HttpxTransport:
    """A transport over httpx."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        self._url = url
        self._client = httpx.Client(headers={"content-type": "application/json", **headers}, timeout=timeout)

    def send(self, path: str, content: bytes | None = None) -> Reply:
        """See `Transport.send`."""
        try:
            response = self._client.request("GET" if content is None else "POST", self._url + path, content=content)
        except httpx.TransportError as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error
        return Reply(response.status_code, response.headers.get("retry-after", ""), response.content)

    def close(self) -> None:
        """See `Transport.close`."""
        self._client.close()


class PlainTransport:
    """A transport over `http.client`, for plain HTTP without a proxy."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        parsed = httpx.URL(url)
        self._prefix = parsed.raw_path.decode().rstrip("/")
        self._host, self._port = parsed.raw_host.decode(), parsed.port
        self._headers = {"content-type": "application/json", "accept": "application/json", **headers}
        self._timeout = timeout
        self._idle: list[http.client.HTTPConnection] = []  # `append` and `pop` are atomic
        self._process = os.getpid()

    def send(self, path: str, content: bytes | None = None) -> Reply:
        """See `Transport.send`."""
        connection = self._connection()
        try:
            method = "GET" if content is None else "POST"
            connection.request(method, self._prefix + path, content, self._headers)
            response = connection.getresponse()
            reply = Reply(response.status, response.headers.get("retry-after", ""), response.read())
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

    def _connection(self) -> http.client.HTTPConnection:
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
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


def _is_stale(connection: http.client.HTTPConnection) -> bool:
    """True if the server has closed the connection, or has sent data that no request asked for."""
    if connection.sock is None:  # closed after its last reply, as the server asked
        return True
    poll = select.poll()  # unlike `select.select`, it takes any number of open files
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
