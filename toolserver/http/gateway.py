"""The way in: admission, request bodies within their limits, the hot path for regular calls, FastAPI for the rest."""

from __future__ import annotations

from time import perf_counter

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolserver.http.admission import AccessControl, Rejection
from toolserver.http.call_routes import CallRoutes
from toolserver.http.codec import json_headers
from toolserver.http.metrics import Metrics
from toolserver.http.request_body import BodyReader, Disconnect, inspect_headers, replay
from toolserver.http.shortcut import RAW_REQUEST, SHORTCUT, Shortcut

_POSTED = frozenset({"/virtual", "/v1/call", "/v1/calls"})
_KNOWN = _POSTED | {"/v1/apis", "/v1/info", "/healthz", "/readyz", "/metrics"}


class Gateway:
    """What an ASGI server calls: around the FastAPI application, before all of its middleware.

    Args:
        app: The application.
        admission: Keys and rates.
        meter: Counts requests.
        bodies: Reads request bodies.
        hot_path: Answers regular calls; `None` leaves all of them to FastAPI.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: AccessControl,
        meter: Metrics,
        bodies: BodyReader,
        hot_path: CallRoutes | None,
    ) -> None:
        self._app = app
        self._admission = admission
        self._meter = meter
        self._bodies = bodies
        self._hot_path = hot_path
        # Only where everybody may call as often as they like: keys and rates look at every request.
        self._shortcut = Shortcut(hot_path, meter) if hot_path is not None and admission.is_open else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            self._offer_shortcut(scope)
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        path: str = scope["path"]
        caller = 0
        if not self._admission.is_open:
            admitted = self._admission.admit(path, scope["headers"])
            if isinstance(admitted, Rejection):
                await self._refuse(admitted, path, send, started)
                return
            caller = scope["toolserver.caller"] = admitted
        if path in _POSTED and scope["method"] == "POST":
            length, is_json = inspect_headers(scope)
            try:
                body = await self._bodies.read(receive, length)
            except Disconnect:
                return
            if isinstance(body, Rejection):
                await self._refuse(body, path, send, started)
                return
            try:
                reply = await self._hot_path.answer(path, body, caller) if is_json and self._hot_path else None
            except Exception:
                self._meter.count_request(path, 500, perf_counter() - started)  # what the ASGI server makes of it
                raise
            if reply is not None:
                await send({"type": "http.response.start", "status": 200, "headers": reply.headers})
                await send({"type": "http.response.body", "body": reply.body})
                self._meter.count_request(path, 200, perf_counter() - started)
                if self._shortcut is not None and RAW_REQUEST in scope:
                    self._shortcut.learn(path, scope[RAW_REQUEST], body)
                return
            receive = replay(body, receive)
        await self._pass_on(scope, receive, send, started)

    def _offer_shortcut(self, scope: Scope) -> None:
        """Let the server lead requests to the hot path that it need not parse."""
        if scope["type"] == "lifespan" and "state" in scope and self._shortcut is not None:
            scope["state"][SHORTCUT] = self._shortcut

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        status = 500  # what the client gets when the application raises before it answers

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_status)
        finally:
            self._meter.count_request(_label(scope["path"]), status, perf_counter() - started)

    async def _refuse(self, refusal: Rejection, path: str, send: Send, started: float) -> None:
        body = orjson.dumps({"detail": refusal.detail})
        headers = [*json_headers(body), *refusal.headers]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._meter.count_request(_label(path), refusal.status, perf_counter() - started)


def _label(path: str) -> str:
    """A path as a metrics label: few values, whatever strangers ask for."""
    if path in _KNOWN:
        return path
    return "/v1/apis/{api}" if path.startswith("/v1/apis/") else "other"
