"""Decoding of requests into calls, and encoding of responses."""

from collections.abc import Sequence
from typing import Any

import orjson

from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse

RawHeaders = list[tuple[bytes, bytes]]
"""Response headers as ASGI takes them."""

MEMORY_SIZE = 8192
"""Maximum number of answers in a memory of recorded answers."""

MEMORY_LENGTH = 2048
"""Maximum length of an answer in it, in bytes."""

_JSON_HEADER = (b"content-type", b"application/json")
_STATUS = {outcome: int(outcome.status_code) for outcome in Outcome}
_VIRTUAL_HEADERS = {
    (outcome, provenance): [
        _JSON_HEADER,
        *([(b"x-toolserver-status", b"%d" % outcome.status_code)] if outcome.status_code else []),
        (b"x-toolserver-provenance", provenance.encode()),
    ]
    for outcome in Outcome
    for provenance in Provenance
}
_NO_ARGUMENTS: dict[str, Any] = {}
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def read_call(element: Any) -> ToolCall | str:
    """The call that a JSON object describes, or an error text.

    `category`, `tool` and `api` are strings; `arguments` is an object or text, `{}` by default; `state` is a string,
    empty by default. Other fields are ignored.
    """
    if type(element) is not dict:
        return f"a call is an object with category, tool, api and arguments, not {_kind(element)}"
    category, tool, api = element.get("category"), element.get("tool"), element.get("api")
    if not (type(category) is str and type(tool) is str and type(api) is str):
        name = next(name for name in ("category", "tool", "api") if type(element.get(name)) is not str)
        return f"{name}: expected a string, got {_kind(element[name]) if name in element else 'nothing'}"
    arguments, state = element.get("arguments", _NO_ARGUMENTS), element.get("state", "")
    if type(arguments) is not str and type(arguments) is not dict:
        return f"arguments: expected an object or JSON text, got {_kind(arguments)}"
    if type(state) is not str or not state.isascii():
        return f"state: expected a state token or an empty string, got {_kind(state)}"
    return ToolCall(category, tool, api, arguments, state)


def read_virtual(element: Any) -> ToolCall | None:
    """The call in a request of StableToolBench's protocol, or `None` when a field is missing or of a wrong type."""
    if type(element) is not dict:
        return None
    category, tool, api = element.get("category"), element.get("tool_name"), element.get("api_name")
    if not (type(category) is str and type(tool) is str and type(api) is str):
        return None
    if type(element.get("strip", "")) is not str or type(element.get("toolbench_key", "")) is not str:
        return None
    arguments = element.get("tool_input", "")
    if type(arguments) is not str and type(arguments) is not dict:
        return None
    return ToolCall(category, tool, api, arguments)


def json_headers(body: bytes) -> RawHeaders:
    """The headers of a JSON body."""
    return [_JSON_HEADER, (b"content-length", b"%d" % len(body))]


def virtual_headers(response: ToolResponse) -> RawHeaders:
    """The headers of an answer in StableToolBench's protocol. Status 0 is left out: each header costs time."""
    length = (b"content-length", b"%d" % len(response.body))
    return [*_VIRTUAL_HEADERS[response.outcome, response.provenance], length]


class ResponseEncoder:
    """Encodes responses as JSON. A response's body is a string in it, so that any client gets the exact bytes back.

    Recorded answers come again and again, so the text of the short ones is stored.
    """

    def __init__(self) -> None:
        self._recorded: dict[bytes, orjson.Fragment] = {}

    def encode(self, response: ToolResponse) -> bytes:
        """One response as a JSON object."""
        return orjson.dumps(self._element(response))

    def encode_many(self, responses: Sequence[ToolResponse]) -> bytes:
        """Several responses as a JSON array, in order."""
        return orjson.dumps([self._element(response) for response in responses])

    def _element(self, response: ToolResponse) -> dict[str, Any] | orjson.Fragment:
        body, outcome, provenance, state, latency, _ = response
        if provenance is not Provenance.RECORDED or outcome is not Outcome.OK or state or latency:
            return _fields(response)
        known = self._recorded.get(body)
        if known is None:
            known = orjson.Fragment(orjson.dumps(_fields(response)))
            if len(body) <= MEMORY_LENGTH:
                if len(self._recorded) >= MEMORY_SIZE:
                    self._recorded.clear()  # as good as LRU here, at no cost to a hit
                self._recorded[body] = known
        return known


def _fields(response: ToolResponse) -> dict[str, Any]:
    body, outcome, provenance, state, latency, _ = response
    return {
        "outcome": outcome,
        "status": _STATUS[outcome],
        "provenance": provenance,
        "state": state,
        "latency": latency,
        "body": body.decode(),
    }


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
