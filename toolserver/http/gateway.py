"""ASGI entry of the server: access control, body limits, the routes that call tools, and FastAPI for the others."""

from __future__ import annotations

from time import perf_counter

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolserver.http.auth import AccessControl, Rejection
from toolserver.http.call_routes import CallRoutes, Reply
from toolserver.http.codec import json_headers
from toolserver.http.metrics import Metrics
from toolserver.http.request_body import BodyReader, Disconnect, inspect_headers

_OTHER_PATHS = frozenset({"/v1/apis", "/v1/info", "/healthz", "/readyz", "/metrics"})


class Gateway:
    """ASGI application around the FastAPI application and all of its middleware.

    Args:
        app: The FastAPI application.
        access: API keys and rate limits.
        metrics: Counts requests.
        bodies: Reads request bodies.
        calls: Answers the routes that call tools.
    """

    def __init__(
        self, app: ASGIApp, *, access: AccessControl, metrics: Metrics, bodies: BodyReader, calls: CallRoutes
    ) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics
        self._bodies = bodies
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        path = _path(scope)
        try:
            status = await self._answer(path, scope, receive, send)
        except Rejection as rejection:
            status = rejection.status
            body = orjson.dumps({"detail": rejection.detail})
            await _send(send, Reply(status, [*json_headers(body), *rejection.headers], body))
        except Disconnect:
            return
        except Exception:
            self._metrics.count_request(self._label(path), 500, perf_counter() - started)  # sent by the ASGI server
            raise
        self._metrics.count_request(self._label(path), status, perf_counter() - started)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer a request. Returns the status."""
        caller = 0 if self._access.is_open else self._access.admit(path, scope["headers"])
        if path not in self._calls.paths or scope["method"] != "POST":
            return await self._pass_on(scope, receive, send)
        length, content_type = inspect_headers(scope["headers"])
        body = await self._bodies.read(receive, length)
        reply = await self._calls.answer(path, body, content_type, caller)
        await _send(send, reply)
        return reply.status

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
        if path in self._calls.paths or path in _OTHER_PATHS:
            return path
        return "/v1/apis/{api}" if path.startswith("/v1/apis/") else "other"


def _path(scope: Scope) -> str:
    """The path of a request without the prefix under which the application is mounted."""
    path: str = scope["path"]
    prefix = scope.get("root_path")
    return path.removeprefix(prefix) if prefix else path


async def _send(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})
