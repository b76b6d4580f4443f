"""The hot path: regular calls, answered straight from ASGI.

It takes a well-formed `POST` of `/virtual`, `/v1/call` or `/v1/calls`. What is irregular in the least goes on to
FastAPI with its body already read. So FastAPI alone decides how a bad request is answered, and the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson

from toolserver.admission import Admission
from toolserver.dispatch import Dispatcher
from toolserver.errors import CacheError
from toolserver.jsontext import holds_large_float
from toolserver.metrics import Meter
from toolserver.schemas import Provenance, ToolResponse
from toolserver.wire import (
    VIRTUAL_HEADERS,
    RawHeaders,
    encode_response,
    encode_responses,
    json_headers,
    read_call,
    read_virtual,
)

_REMEMBERED = 8192  # requests
_REMEMBERED_LENGTH = 2048  # bytes of request and of answer


class Reply(NamedTuple):
    """An answer with status 200. `lasting` is the recorded response in it, when the request was known."""

    headers: RawHeaders
    body: bytes
    lasting: ToolResponse | None = None


class HotPath:
    """Answers regular requests.

    A request of `/virtual` that was answered from the record is remembered by its bytes: when it comes again, it is not
    even parsed. Recordings do not change while they are served; an answer of any other provenance may.

    Args:
        dispatcher: Answers calls.
        admission: Is told how many calls a batch has.
        meter: Counts calls.
        max_batch: Calls in one batch.
    """

    def __init__(self, dispatcher: Dispatcher, admission: Admission, meter: Meter, max_batch: int) -> None:
        self._dispatcher = dispatcher
        self._admission = admission
        self._meter = meter
        self._max_batch = max_batch
        self._remembered: dict[bytes, Reply] = {}
        self._lanes: dict[str, Callable[[bytes, int], Awaitable[Reply | None]]] = {
            "/virtual": self._virtual,
            "/v1/call": self._call,
            "/v1/calls": self._calls,
        }

    async def answer(self, path: str, body: bytes, caller: int) -> Reply | None:
        """The reply to the JSON `body` of a request; `None` when FastAPI must look at it."""
        try:
            return await self._lanes[path](body, caller)
        except orjson.JSONDecodeError:
            return None  # no JSON, or JSON that only Python's parser takes (NaN, lone surrogates)
        except CacheError:
            return None  # FastAPI will meet it too, and say so with 503

    async def _virtual(self, body: bytes, _caller: int) -> Reply | None:
        remembered = self._remembered.get(body)
        if remembered is not None and remembered.lasting is not None:
            self._meter.count_call("/virtual", remembered.lasting, True)
            return remembered
        call = read_virtual(orjson.loads(body))
        if call is None or holds_large_float(call.arguments):
            return None
        response = await self._dispatcher.answer(call, "/virtual")
        length = (b"content-length", b"%d" % len(response.body))
        headers = [*VIRTUAL_HEADERS[response.outcome, response.provenance], length]
        if response.provenance is Provenance.RECORDED and max(len(body), len(response.body)) <= _REMEMBERED_LENGTH:
            self._remember(body, Reply(headers, response.body, response))
        return Reply(headers, response.body)

    async def _call(self, body: bytes, _caller: int) -> Reply | None:
        call = read_call(orjson.loads(body))
        if isinstance(call, str) or holds_large_float(call.arguments):
            return None
        answer = encode_response(await self._dispatcher.answer(call, "/v1/call"))
        return Reply(json_headers(answer), answer)

    async def _calls(self, body: bytes, caller: int) -> Reply | None:
        payload: Any = orjson.loads(body)
        if type(payload) is not list or len(payload) > self._max_batch:
            return None
        calls = [read_call(element) for element in payload]
        if any(holds_large_float(call.arguments) for call in calls if isinstance(call, tuple)):
            return None
        self._admission.charge(caller, len(calls))
        answer = encode_responses(await self._dispatcher.answer_many(calls, "/v1/calls"))
        return Reply(json_headers(answer), answer)

    def _remember(self, body: bytes, reply: Reply) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()  # starting over is as good as LRU here, and costs a hit nothing
        self._remembered[body] = reply
