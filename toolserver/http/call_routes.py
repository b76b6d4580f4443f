"""Answers of the routes that call tools: `/virtual`, `/v1/call` and `/v1/calls`.

`Gateway` passes every request of them, good or bad, to `CallRoutes` and not to FastAPI, whose layers cost more than an
answer. `routes` declares them for the OpenAPI document.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from toolserver.calls.json_parsing import holds_large_float
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.http.auth import AccessControl, Rejection
from toolserver.http.codec import (
    MEMORY_LENGTH,
    MEMORY_SIZE,
    RawHeaders,
    ResponseEncoder,
    json_headers,
    read_call,
    read_virtual,
    virtual_headers,
)
from toolserver.http.executor import CallExecutor, Deferred
from toolserver.http.metrics import Metrics
from toolserver.http.models import CallRequest, VirtualRequest
from toolserver.http.request_body import JSON_TYPES, parse_exactly

T = TypeVar("T")

_UNANSWERED = frozenset(
    {Outcome.NOT_RECORDED, Outcome.UNKNOWN_API, Outcome.FAILED, Outcome.TIMEOUT, Outcome.UNAVAILABLE}
)
NOT_WORKING = "API not working error..."
"""The error text that ToolBench's clients know as a failure (status 6). They count a text that they do not know as a
success."""

_VIRTUAL: TypeAdapter[VirtualRequest] = TypeAdapter(VirtualRequest)
_CALL: TypeAdapter[CallRequest] = TypeAdapter(CallRequest)
_CALLS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


class Reply(NamedTuple):
    """An answer to a request."""

    status: int
    headers: RawHeaders
    body: bytes


_Handler = Callable[[bytes, bytes, int], Reply | Deferred[Reply]]


class CallRoutes:
    """Answers requests of the routes that call tools.

    A request of `/virtual` with a recorded answer is stored by its body and not parsed again. Recordings do not change
    while they are served; an answer of any other provenance may. A batch has at most `max_batch` calls.
    `miss_status` is the HTTP status of `/virtual` for a call that nothing answers.
    """

    def __init__(
        self, executor: CallExecutor, access: AccessControl, metrics: Metrics, max_batch: int, miss_status: int
    ) -> None:
        self._executor = executor
        self._access = access
        self._metrics = metrics
        self._max_batch = max_batch
        self._miss_status = miss_status
        self._encoder = ResponseEncoder()
        self._recorded: dict[bytes, tuple[list[int], Reply]] = {}
        self._handlers: dict[str, _Handler] = {
            "/virtual": self._virtual,
            "/rapidapi": self._virtual,
            "/v1/call": self._call,
            "/v1/calls": self._calls,
        }
        self.paths = frozenset(self._handlers)

    def answer(self, path: str, body: bytes, content_type: bytes, caller: int) -> Reply | Deferred[Reply]:
        """Answer a request.

        Args:
            path: One of `paths`.
            body: Request body.
            content_type: Value of the header, empty without one.
            caller: Caller number of `AccessControl.admit`.

        Raises:
            Rejection: 400, 413 or 422 for a bad request.
            CacheError: The store is broken.
        """
        return self._handlers[path](body, content_type, caller)

    def _virtual(self, body: bytes, content_type: bytes, _caller: int) -> Reply | Deferred[Reply]:
        is_json = content_type in JSON_TYPES
        recorded = self._recorded.get(body) if is_json else None
        if recorded is not None:
            count, reply = recorded
            count[0] += 1
            return reply
        call = _read(body, read_virtual) if is_json else None
        if call is None:
            call = _validate(_VIRTUAL, parse_exactly(body, content_type)).call()
        answer = self._executor.start(call, "/virtual")
        if isinstance(answer, Deferred):
            return answer.then(partial(self._virtual_reply, body))
        return self._virtual_reply(body, answer)

    def _call(self, body: bytes, content_type: bytes, _caller: int) -> Reply | Deferred[Reply]:
        call = _read(body, read_call) if content_type in JSON_TYPES else None
        if call is None:
            call = _validate(_CALL, parse_exactly(body, content_type)).call()
        answer = self._executor.start(call, "/v1/call")
        return answer.then(self._call_reply) if isinstance(answer, Deferred) else self._call_reply(answer)

    def _calls(self, body: bytes, content_type: bytes, caller: int) -> Reply | Deferred[Reply]:
        calls = _read_batch(body) if content_type in JSON_TYPES else None
        if calls is None:
            calls = [read_call(element) for element in _validate(_CALLS, parse_exactly(body, content_type))]
        if len(calls) > self._max_batch:
            raise Rejection(413, f"{len(calls)} calls in one request; at most {self._max_batch} are taken")
        self._access.charge(caller, len(calls))
        answers = self._executor.start_many(calls, "/v1/calls")
        return answers.then(self._calls_reply) if isinstance(answers, Deferred) else self._calls_reply(answers)

    def _virtual_reply(self, body: bytes, response: ToolResponse) -> Reply:
        if response.provenance is Provenance.SERVICE and response.outcome in _UNANSWERED:
            return self._unanswered(response)
        reply = Reply(200, virtual_headers(response), response.body)
        if response.provenance is Provenance.RECORDED and max(len(body), len(response.body)) <= MEMORY_LENGTH:
            if len(self._recorded) >= MEMORY_SIZE:
                self._recorded.clear()
            count = self._metrics.call_counter("/virtual", True, response.outcome, response.provenance)
            self._recorded[body] = count, reply
        return reply

    def _unanswered(self, response: ToolResponse) -> Reply:
        """Reply to a call that no tool answered, in the words of ToolBench's clients; the reason is the response."""
        shown = response._replace(body=encode_body(NOT_WORKING, response.error))
        missed = response.outcome in (Outcome.NOT_RECORDED, Outcome.UNKNOWN_API)
        return Reply(self._miss_status if missed else 200, virtual_headers(shown), shown.body)

    def _call_reply(self, response: ToolResponse) -> Reply:
        return _json_reply(self._encoder.encode(response))

    def _calls_reply(self, responses: list[ToolResponse]) -> Reply:
        return _json_reply(self._encoder.encode_many(responses))


def _json_reply(body: bytes) -> Reply:
    return Reply(200, json_headers(body), body)


def _read(body: bytes, read: Callable[[Any], ToolCall | str | None]) -> ToolCall | None:
    """The call in a regular body; `None` for a body that only `parse_exactly` and the models can judge."""
    try:
        call = read(orjson.loads(body))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(call, ToolCall):
        return None
    # orjson may have rounded an integer among the arguments
    return None if type(call.arguments) is dict and holds_large_float(call.arguments) else call


def _read_batch(body: bytes) -> list[ToolCall | str] | None:
    """`_read` for a batch, with an error text in place of each element that is not a call."""
    try:
        elements = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(elements) is not list:
        return None
    calls = [read_call(element) for element in elements]
    for call in calls:
        if type(call) is ToolCall and type(call.arguments) is dict and holds_large_float(call.arguments):
            return None
    return calls


def _validate(model: TypeAdapter[T], value: Any) -> T:
    """`value` by its model. Raises `Rejection` (422) with the errors but not the values, which may hold secrets."""
    try:
        return model.validate_python(value, from_attributes=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        detail = [{"loc": ["body", *item["loc"]], "msg": item["msg"], "type": item["type"]} for item in problems]
        raise Rejection(422, detail) from None
