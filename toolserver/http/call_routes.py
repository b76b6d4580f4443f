"""The hot path: regular calls, answered without FastAPI.

It takes a well-formed `POST` of `/virtual`, `/v1/call` or `/v1/calls`. What is irregular in the least goes on to
FastAPI with its body already read. So FastAPI alone decides how a bad request is answered, and the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import orjson

from toolserver.calls.json_parsing import holds_large_float
from toolserver.catalog.api_schema import Provenance, ToolResponse
from toolserver.errors import CacheError
from toolserver.http.admission import AccessControl
from toolserver.http.codec import (
    JSON_FIELDS,
    VIRTUAL_FIELDS,
    Fields,
    RawHeaders,
    encode_response,
    encode_responses,
    read_call,
    read_virtual,
)
from toolserver.http.executor import CallExecutor, Deferred
from toolserver.http.metrics import Metrics

_REMEMBERED = 8192  # requests
_REMEMBERED_LENGTH = 2048  # bytes of request and of answer


class Reply(NamedTuple):
    """An answer with status 200."""

    fields: Fields
    body: bytes

    @property
    def headers(self) -> RawHeaders:
        """All header fields, for ASGI."""
        return [*self.fields.raw, (b"content-length", b"%d" % len(self.body))]

    def message(self) -> bytes:
        """The whole answer on the wire."""
        return b"%bcontent-length: %d\r\n\r\n%b" % (self.fields.text, len(self.body), self.body)


_Lane = Callable[[bytes, int], Reply | Deferred[Reply] | None]


class CallRoutes:
    """Answers regular requests.

    A request of `/virtual` that was answered from the record is remembered by its body: when it comes again, it is not
    even parsed. Recordings do not change while they are served; an answer of any other provenance may.

    Args:
        dispatcher: Answers calls.
        admission: Is told how many calls a batch has.
        meter: Counts calls.
        max_batch: Calls in one batch.
    """

    def __init__(self, dispatcher: CallExecutor, admission: AccessControl, meter: Metrics, max_batch: int) -> None:
        self._dispatcher = dispatcher
        self._admission = admission
        self._meter = meter
        self._max_batch = max_batch
        self._remembered: dict[bytes, tuple[ToolResponse, Reply]] = {}
        self._lanes: dict[str, _Lane] = {"/virtual": self._virtual, "/v1/call": self._call, "/v1/calls": self._calls}

    async def answer(self, path: str, body: bytes, caller: int) -> Reply | None:
        """The reply to the JSON `body` of a request; `None` when FastAPI must look at it."""
        try:
            reply = self._lanes[path](body, caller)
            return await reply.get() if isinstance(reply, Deferred) else reply
        except orjson.JSONDecodeError:
            return None  # no JSON, or JSON that only Python's parser takes (NaN, lone surrogates)
        except CacheError:
            return None  # FastAPI will meet it too, and say so with 503

    def answer_at_once(self, path: str, body: bytes, caller: int) -> Reply | None:
        """The reply of `answer` if it takes no waiting and nothing fails; else `None`: it must go to `answer`."""
        try:
            reply = self._lanes[path](body, caller)
        except Exception:
            return None  # `answer` will meet it too
        return None if isinstance(reply, Deferred) else reply

    def _virtual(self, body: bytes, _caller: int) -> Reply | Deferred[Reply] | None:
        remembered = self._remembered.get(body)
        if remembered is not None:
            response, reply = remembered
            self._meter.count_call("/virtual", response, True)
            return reply
        call = read_virtual(orjson.loads(body))
        if call is None or holds_large_float(call.arguments):
            return None
        answer = self._dispatcher.start(call, "/virtual")
        if isinstance(answer, Deferred):
            return answer.then(partial(self._virtual_reply, body))
        return self._virtual_reply(body, answer)

    def _call(self, body: bytes, _caller: int) -> Reply | Deferred[Reply] | None:
        call = read_call(orjson.loads(body))
        if isinstance(call, str) or holds_large_float(call.arguments):
            return None
        answer = self._dispatcher.start(call, "/v1/call")
        return answer.then(_call_reply) if isinstance(answer, Deferred) else _call_reply(answer)

    def _calls(self, body: bytes, caller: int) -> Reply | Deferred[Reply] | None:
        payload: Any = orjson.loads(body)
        if type(payload) is not list or len(payload) > self._max_batch:
            return None
        calls = [read_call(element) for element in payload]
        if any(holds_large_float(call.arguments) for call in calls if isinstance(call, tuple)):
            return None
        self._admission.charge(caller, len(calls))
        answers = self._dispatcher.start_many(calls, "/v1/calls")
        return answers.then(_calls_reply) if isinstance(answers, Deferred) else _calls_reply(answers)

    def _virtual_reply(self, body: bytes, response: ToolResponse) -> Reply:
        """The reply to a request of `/virtual`, remembered if it cannot change."""
        reply = Reply(VIRTUAL_FIELDS[response.outcome, response.provenance], response.body)
        if response.provenance is Provenance.RECORDED and max(len(body), len(response.body)) <= _REMEMBERED_LENGTH:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()  # starting over is as good as LRU here, and costs a hit nothing
            self._remembered[body] = response, reply
        return reply


def _call_reply(response: ToolResponse) -> Reply:
    return Reply(JSON_FIELDS, encode_response(response))


def _calls_reply(responses: list[ToolResponse]) -> Reply:
    return Reply(JSON_FIELDS, encode_responses(responses))
