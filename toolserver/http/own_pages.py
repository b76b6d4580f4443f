"""Refusal of web pages of other sites, which a browser on this machine would let call a server on it."""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL = ("localhost", "127.0.0.1", "::1")
_PRIVATE = ("localhost", "internal")
"""Top-level names that are reserved for one machine or one network."""


class OwnPages:
    """ASGI application around `app` that takes requests and WebSockets of its own pages and of no page at all.

    A browser names the page that makes a request in `Origin`; other clients send none. See `is_own_page`.

    Args:
        app: Application.
        host: Address that the server listens on. On a loopback address no site's name is taken for the server's.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._any_name = not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan" or is_own_page(dict(scope["headers"]), any_name=self._any_name):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await Response("Origin not allowed", status_code=403)(scope, receive, send)


def is_own_page(headers: dict[bytes, bytes], *, any_name: bool, allowed: Sequence[str] = ()) -> bool:
    """Return whether a request is of no page, of one on this machine, or of one on the host that it is sent to.

    Without `any_name` such a host is one that a site cannot have: see `is_own_host`. An `Origin` that is `null` or
    malformed names no page that is taken.
    """
    origin = headers.get(b"origin")
    if not origin:
        return True
    page = _host(origin)
    if page is None or page in _LOCAL:
        return page is not None
    return page == _host(b"//" + headers.get(b"host", b"")) and (any_name or _is_own(page, allowed))


def is_own_host(value: bytes, allowed: Sequence[str]) -> bool:
    """Return whether a header `Host` has an address, a name without a dot or below `_PRIVATE`, or an allowed one.

    Any other name can be bound to this machine's address by a site (DNS rebinding), whose pages could then read the
    server's answers. `allowed` are names; `*.NAME` allows those below NAME, `*` all.
    """
    host = _host(b"//" + value)
    return host is not None and ("*" in allowed or _is_own(host, allowed))


def is_loopback(host: str) -> bool:
    """Return whether an address or name to listen on is of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(address: bytes) -> str | None:
    try:
        return urlsplit(address.decode("latin-1")).hostname
    except ValueError:
        return None


def _is_own(host: str, allowed: Sequence[str]) -> bool:
    """Return whether a host is an address, a name that only this machine or network knows, or an allowed name."""
    if host in allowed or any(host.endswith(each[1:]) for each in allowed if each.startswith("*.")):
        return True
    try:
        ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.rpartition(".")[2] in _PRIVATE)
    return True
