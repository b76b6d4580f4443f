"""ASGI entry of the server: access control, body limits, the routes that call tools, and FastAPI for the others."""

from collections.abc import Sequence
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolserver.errors import CacheError
from toolserver.http.auth import PAGES_PATH, AccessControl, Rejection, refuse
from toolserver.http.call_routes import CallRoutes
from toolserver.http.executor import Deferred
from toolserver.http.metrics import Metrics
from toolserver.http.own_pages import OTHER_HOST, OTHER_SITE, is_own_host, is_own_page
from toolserver.http.request_body import Disconnect, read_body

_OTHER_PATHS = frozenset({"/v1/apis", "/v1/info", "/healthz", "/readyz", "/metrics", "/mcp", PAGES_PATH})
_HOSTS = 64  # values of `Host` that are remembered


class Gateway:
    """ASGI application around `app`, the FastAPI application with all of its middleware.

    A browser names the page that makes a request in `Origin`, with every POST; other clients send none. Pages of this
    machine are taken, and the server's own, `/docs` and `/ui`, by the host in `Host`. Without keys that is a host which
    no site can have, since a site can bind a name of its own to this machine's address (DNS rebinding).

    With `allowed_hosts`, requests that address other hosts than these names and those of `is_own_host` are refused, so
    that such a site cannot read by GET either, which has no `Origin`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: AccessControl,
        metrics: Metrics,
        max_body_bytes: int,
        calls: CallRoutes,
        allowed_hosts: Sequence[str] | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._is_open = access.is_open
        self._any_name = access.needs_key
        self._allowed_hosts = () if allowed_hosts is None else allowed_hosts
        self._checks_host = allowed_hosts is not None
        self._own_hosts: set[bytes] = set()  # values of `Host` that were found to be right
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._calls = calls
        self._paths = calls.paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        path: str = scope["path"]
        if scope.get("root_path"):  # the prefix under which the application is mounted
            path = path.removeprefix(scope["root_path"])
        try:
            headers = dict(scope["headers"])
            if b"origin" in headers or (self._checks_host and headers.get(b"host", b"") not in self._own_hosts):
                self._check_site(headers)
            caller = 0 if self._is_open else self._access.admit(path, scope["headers"])
            if path in self._paths and scope["method"] == "POST":
                body = await read_body(receive, headers.get(b"content-length", b""), self._max_body_bytes)
                reply = self._calls.answer(path, body, headers.get(b"content-type", b""), caller)
                if isinstance(reply, Deferred):
                    reply = await reply.get()
                status, fields, content = reply
                await send({"type": "http.response.start", "status": status, "headers": fields})
                await send({"type": "http.response.body", "body": content})
                self._metrics.count_request(path, status, perf_counter() - started)
                return
            status = await self._pass_on(scope, receive, send)
        except Disconnect:
            return
        except Rejection as rejection:
            status = await refuse(send, rejection)
        except CacheError as error:
            status = await refuse(send, Rejection(503, str(error)))
        except Exception:
            self._metrics.count_request(self._label(path), 500, perf_counter() - started)  # sent by the ASGI server
            raise
        self._metrics.count_request(self._label(path), status, perf_counter() - started)

    def _check_site(self, headers: dict[bytes, bytes]) -> None:
        """Raise `Rejection` (403) for a page of another site, or another name of this server."""
        if not is_own_page(headers, any_name=self._any_name, allowed=self._allowed_hosts):
            raise Rejection(403, OTHER_SITE)
        host = headers.get(b"host", b"")
        if self._checks_host and host not in self._own_hosts:
            if not is_own_host(host, self._allowed_hosts):
                raise Rejection(403, OTHER_HOST)
            if len(self._own_hosts) < _HOSTS:
                self._own_hosts.add(host)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> int:
        status = 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, send_and_note_status)
        return status

    def _label(self, path: str) -> str:
        """Metrics label of a path: one of few values, whatever path is asked for."""
        if path in self._paths or path in _OTHER_PATHS:
            return path
        if path.startswith(PAGES_PATH + "/"):
            return PAGES_PATH
        return "/v1/apis/{api}" if path.startswith("/v1/apis/") else "other"
