"""Refusal of web pages of other sites, which a browser on this machine would let call a server on it."""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from toolserver.http.auth import Rejection, refuse

OTHER_HOST = (
    "the header Host has a name that a site may have bound to this machine's address; call the server by its address, "
    "or start it with this name in --allowed-hosts"
)
OTHER_SITE = "a page of another site must not call this server: its Origin is neither this machine nor the server"

_LOCAL = ("localhost", "127.0.0.1", "::1")
_PRIVATE = ("localhost", "internal")
"""Top-level names that are reserved for one machine or one network."""


class OwnPages:
    """ASGI application around `app` that takes requests and WebSockets of its own pages and of no page at all.

    A browser names the page that makes a request in `Origin`; other clients send none. See `is_own_page`. A page whose
    site has bound its name to this machine's address reads with GET, which has no `Origin`: see `is_own_host`.

    Args:
        app: Application.
        host: Address that the server listens on. On a loopback address no site's name is taken for the server's.
        allowed_hosts: Names of the server, in lower case. Without them, a server on a loopback address has none, and
            any other server takes every name.
    """

    def __init__(self, app: ASGIApp, host: str, allowed_hosts: Sequence[str] | None = None) -> None:
        self._app = app
        self._any_name = not is_loopback(host)
        self._checks_host = allowed_hosts is not None or not self._any_name
        self._allowed_hosts = allowed_hosts or ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        problem = "" if scope["type"] == "lifespan" else self._problem(dict(scope["headers"]))
        if not problem:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refuse(send, Rejection(403, problem))

    def _problem(self, headers: dict[bytes, bytes]) -> str:
        """Return the reason to refuse a request, or an empty text."""
        if not is_own_page(headers, any_name=self._any_name, allowed=self._allowed_hosts):
            return OTHER_SITE
        is_own = not self._checks_host or is_own_host(headers.get(b"host", b""), self._allowed_hosts)
        return "" if is_own else OTHER_HOST


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

    HTTP/1.0 may have no such header; browsers send one.

    Any other name can be bound to this machine's address by a site (DNS rebinding), whose pages could then read the
    server's answers. `allowed` are names; `*.NAME` allows those below NAME, `*` all.
    """
    host = _host(b"//" + value)
    return not value or (host is not None and ("*" in allowed or _is_own(host, allowed)))


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
