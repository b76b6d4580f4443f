"""Data types of the tool server: API documentation, calls and responses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from toolserver.calls.episode_state import EpisodeState
from toolserver.calls.naming import api_key, function_name

OBSERVATION_LENGTH = 1024
"""Default number of characters of an answer that environments show, as in ToolBench; ToolWorld's tasks rely on it."""


class Provenance(StrEnum):
    """Source of an answer."""

    __hash__ = str.__hash__  # faster than Enum's, which is Python code

    RECORDED = "recorded"  # recorded answer of a real API
    GENERATED = "generated"  # written by a language model
    SYNTHETIC = "synthetic"  # derived from the API's template and the call
    LIVE = "live"  # answer of an upstream server to this call
    WORLD = "world"  # computed by a simulated world: ToolWorld's, or BFCL's APIs
    INJECTED = "injected"  # injected fault
    SERVICE = "service"  # the service itself: validation, a miss


class StatusCode(IntEnum):
    """ToolBench's step status codes (`rapidapi.py` of ToolBench; 3 and 4 belong to `Finish`)."""

    OK = 0
    NO_SUCH_FUNCTION = 1
    BAD_INPUT = 2
    FINAL_ANSWER = 3
    GAVE_UP = 4
    TIMEOUT = 5
    NOT_WORKING = 6
    UNAUTHORIZED = 7
    UNSUBSCRIBED = 8
    TOO_MANY_REQUESTS = 9
    RATE_LIMITED = 10
    MESSAGE_ERROR = 11
    REQUEST_FAILED = 12


class Outcome(StrEnum):
    """The typed outcome of a call that reached the service. Only `OK` is a success."""

    __hash__ = str.__hash__  # faster than Enum's, which is Python code

    OK = "ok"
    UNKNOWN_API = "unknown_api"
    INVALID_ARGUMENTS = "invalid_arguments"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    NOT_RECORDED = "not_recorded"
    FAILED = "failed"

    @property
    def status_code(self) -> StatusCode:
        """ToolBench's code for this outcome."""
        return _STATUS_CODES[self]


_STATUS_CODES = {
    Outcome.OK: StatusCode.OK,
    Outcome.UNKNOWN_API: StatusCode.NO_SUCH_FUNCTION,
    Outcome.INVALID_ARGUMENTS: StatusCode.BAD_INPUT,
    Outcome.NOT_FOUND: StatusCode.MESSAGE_ERROR,
    Outcome.CONFLICT: StatusCode.MESSAGE_ERROR,
    Outcome.UNAUTHORIZED: StatusCode.UNAUTHORIZED,
    Outcome.FORBIDDEN: StatusCode.UNSUBSCRIBED,
    Outcome.RATE_LIMITED: StatusCode.RATE_LIMITED,
    Outcome.QUOTA_EXCEEDED: StatusCode.TOO_MANY_REQUESTS,
    Outcome.TIMEOUT: StatusCode.TIMEOUT,
    Outcome.UNAVAILABLE: StatusCode.NOT_WORKING,
    Outcome.NOT_RECORDED: StatusCode.REQUEST_FAILED,
    Outcome.FAILED: StatusCode.REQUEST_FAILED,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an API, as RapidAPI documents it."""

    name: str
    type: str = "STRING"
    description: str = ""
    default: Any = ""


@dataclass(frozen=True)
class ApiSpec:
    """Documentation of one API. Names are as published; `key` is standardised."""

    category: str
    tool: str
    name: str
    description: str = ""
    required: tuple[Parameter, ...] = ()
    optional: tuple[Parameter, ...] = ()
    method: str = "GET"
    template_response: Any = field(default=None, compare=False)
    tool_description: str = ""

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """Identity of the API: standardised category, tool and name."""
        return api_key(self.category, self.tool, self.name)

    @cached_property
    def function_name(self) -> str:
        """Name of the function for a model: `<api>_for_<tool>`."""
        return function_name(self.tool, self.name)


@dataclass(frozen=True)
class FunctionSpec(ApiSpec):
    """API that is offered to a model as its publisher documents it, not in ToolBench's names and words.

    Attributes:
        function: Function in OpenAI's schema: `name`, `description`, `parameters`. Not to be changed.
    """

    function: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def function_name(self) -> str:
        """Name of the function for a model."""
        return str(self.function["name"])


class ToolCall(NamedTuple):
    """One call of one API.

    Attributes:
        category: Category of the API.
        tool: Tool of the API.
        api: Name of the API.
        arguments: An object, or JSON text as a model wrote it.
        state: State of the episode: an `EpisodeState` in process, its token over HTTP; empty without state.
        parsed: Value of the text in `arguments`, if the caller has parsed it already. Not sent over HTTP.
    """

    category: str
    tool: str
    api: str
    arguments: dict[str, Any] | str
    state: EpisodeState | str = ""
    parsed: dict[str, Any] | None = None


class ToolResponse(NamedTuple):
    """The answer to one call.

    Attributes:
        body: UTF-8 JSON text `{"error": ..., "response": ...}`, byte for byte as it is stored, sent and shown.
        outcome: Typed outcome.
        provenance: Source of the answer.
        state: State of the episode after the call, in the form that the call's `state` has.
        latency: Seconds of the virtual clock.
        result: Answer of ToolWorld (`toolserver.world.vendors.VendorAnswer`) before it was encoded. Not sent over HTTP.
    """

    body: bytes
    outcome: Outcome = Outcome.OK
    provenance: Provenance = Provenance.RECORDED
    state: EpisodeState | str = ""
    latency: float = 0.0
    result: Any = None

    @property
    def error(self) -> str:
        """The error text, empty on success."""
        return str(decode_body(self.body)["error"])

    @property
    def response(self) -> Any:
        """The parsed response."""
        return decode_body(self.body)["response"]


_BODIES = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)


def encode_body(error: str, response: Any) -> bytes:
    """`{"error": ..., "response": ...}` as StableToolBench's client writes it into an observation.

    Python's `json.dumps` separators, so that an observation is the stored bytes and reads like the
    published runs. Lone surrogates, which UTF-8 cannot hold, make the whole body ASCII-escaped; NaN and
    Infinity, which JSON does not have, become text.
    """
    body = {"error": error, "response": response}
    try:
        return _BODIES.encode(body).encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()
    except ValueError:
        return encode_body(error, json.loads(json.dumps(response), parse_constant=str))


def decode_body(body: bytes) -> dict[str, Any]:
    """Decode a body. Raises `ValueError` when it is not `{"error": ..., "response": ...}` in JSON."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)  # lone surrogates, which orjson refuses
    if not isinstance(value, dict) or value.keys() != {"error", "response"}:
        raise ValueError('it must be {"error": ..., "response": ...}')
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
