"""The way in: admission, request bodies within their limits, and the fast lane for regular calls.

The fast lane answers a well-formed `POST` of `/virtual`, `/v1/call` or `/v1/calls` straight from ASGI. Everything else,
and everything that is irregular in the least, goes on to FastAPI with the body already read. So FastAPI alone decides
how a bad request is answered, and the two cannot disagree about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolserver.admission import Admission, Refusal
from toolserver.bodies import BodyReader, Disconnect, inspect_headers, replay
from toolserver.dispatch import Dispatcher
from toolserver.errors import CacheError
from toolserver.jsontext import holds_large_float
from toolserver.metrics import Meter
from toolserver.wire import (
    VIRTUAL_HEADERS,
    RawHeaders,
    encode_response,
    encode_responses,
    json_headers,
    read_call,
    read_virtual,
)

_POSTED = frozenset({"/virtual", "/v1/call", "/v1/calls"})
_KNOWN = _POSTED | {"/v1/apis", "/healthz", "/readyz", "/metrics"}

Reply = tuple[RawHeaders, bytes]
_FastLane = Callable[[Any, int], Awaitable[Reply | None]]


class FrontDoor:
    """What an ASGI server calls: around the FastAPI application, before all of its middleware.

    Args:
        app: The application.
        dispatcher: Answers calls.
        admission: Keys and rates.
        meter: Counts requests.
        bodies: Reads request bodies.
        max_batch: Calls in one batch.
        hot_path: Whether to use the fast lane.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dispatcher: Dispatcher,
        admission: Admission,
        meter: Meter,
        bodies: BodyReader,
        max_batch: int,
        hot_path: bool,
    ) -> None:
        self._app = app
        self._dispatcher = dispatcher
        self._admission = admission
        self._meter = meter
        self._bodies = bodies
        self._max_batch = max_batch
        lanes: dict[str, _FastLane] = {"/virtual": self._virtual, "/v1/call": self._call, "/v1/calls": self._calls}
        self._lanes = lanes if hot_path else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        path: str = scope["path"]
        caller = 0
        if not self._admission.is_open:
            admitted = self._admission.admit(path, scope["headers"])
            if isinstance(admitted, Refusal):
                await self._refuse(admitted, path, send, started)
                return
            caller = scope["toolserver.caller"] = admitted
        if path in _POSTED and scope["method"] == "POST":
            length, is_json = inspect_headers(scope)
            try:
                body = await self._bodies.read(receive, length)
            except Disconnect:
                return
            if isinstance(body, Refusal):
                await self._refuse(body, path, send, started)
                return
            reply = await self._fast(path, body, caller) if is_json else None
            if reply is not None:
                await send({"type": "http.response.start", "status": 200, "headers": reply[0]})
                await send({"type": "http.response.body", "body": reply[1]})
                self._meter.count_request(path, 200, perf_counter() - started)
                return
            receive = replay(body, receive)
        await self._pass_on(scope, receive, send, started)

    async def _fast(self, path: str, body: bytes, caller: int) -> Reply | None:
        """The reply to a regular request; `None` when FastAPI must look at it."""
        lane = self._lanes.get(path)
        if lane is None:
            return None
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None  # no JSON, or JSON that only Python's parser takes (NaN, lone surrogates)
        try:
            return await lane(payload, caller)
        except CacheError:
            return None  # FastAPI will meet it too, and say so with 503

    async def _virtual(self, payload: Any, _caller: int) -> Reply | None:
        call = read_virtual(payload)
        if call is None or holds_large_float(call.arguments):
            return None
        response = await self._dispatcher.answer(call, "/virtual")
        body = response.body
        return [*VIRTUAL_HEADERS[response.outcome, response.provenance], (b"content-length", b"%d" % len(body))], body

    async def _call(self, payload: Any, _caller: int) -> Reply | None:
        call = read_call(payload)
        if isinstance(call, str) or holds_large_float(call.arguments):
            return None
        body = encode_response(await self._dispatcher.answer(call, "/v1/call"))
        return json_headers(body), body

    async def _calls(self, payload: Any, caller: int) -> Reply | None:
        if type(payload) is not list or len(payload) > self._max_batch:
            return None
        calls = [read_call(element) for element in payload]
        if any(holds_large_float(call.arguments) for call in calls if isinstance(call, tuple)):
            return None
        self._admission.charge(caller, len(calls))
        body = encode_responses(await self._dispatcher.answer_many(calls, "/v1/calls"))
        return json_headers(body), body

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

    async def _refuse(self, refusal: Refusal, path: str, send: Send, started: float) -> None:
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
