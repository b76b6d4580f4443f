"""One API of a vendor: an operation of the world with the vendor's names, units and layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from toolserver.catalog.api_schema import ApiSpec, Outcome
from toolserver.world.changes import Changes
from toolserver.world.schema import Operation, Output, Refusal, Result, Row, Slot
from toolserver.world.seeded_random import digest, number
from toolserver.world.vendors.naming import key_by_name
from toolserver.world.vendors.response_layout import Layout
from toolserver.world.vendors.style import VendorStyle
from toolserver.world.vendors.value_codecs import Codec, codec_of
from toolserver.world.world import World

_SLACK = 1e-3  # relative tolerance of a bound that was rounded to another unit
TOKEN_INPUT, PAGE_INPUT = "token", "page"


class Health(StrEnum):
    """Health of an API."""

    OK = "ok"
    STALE = "stale"  # old values of volatile outputs
    BROKEN = "broken"  # UNAVAILABLE for every call
    CLOSED = "closed"  # FORBIDDEN for every call


_OUTAGES = {Health.BROKEN: Outcome.UNAVAILABLE, Health.CLOSED: Outcome.FORBIDDEN}
_ERROR_TEXTS: dict[Outcome, tuple[str, str, str, str]] = {
    Outcome.NOT_FOUND: ("{}", "404 Not Found: {}", "Not found. {}", "Error 404 - {}"),
    Outcome.INVALID_ARGUMENTS: ("{}", "400 Bad Request: {}", "Validation failed. {}", "Invalid request - {}"),
    Outcome.CONFLICT: ("{}", "409 Conflict: {}", "Request could not be completed. {}", "Rejected - {}"),
    Outcome.UNAUTHORIZED: ("{}", "401 Unauthorized: {}", "Authentication required. {}", "Access denied - {}"),
    Outcome.UNAVAILABLE: (
        "Service unavailable.",
        "503 Service Unavailable: this endpoint is down for maintenance.",
        "This endpoint is not working at the moment. Please contact the provider.",
        "502 Bad Gateway - upstream did not answer.",
    ),
    Outcome.FORBIDDEN: (
        "You are not subscribed to this API.",
        "403 Forbidden: your plan does not include this endpoint.",
        "This endpoint is disabled for your subscription.",
        "Access denied - subscription required.",
    ),
}
"""Error texts in four styles; the texts of outcomes that are not here have one style."""


class VendorAnswer(NamedTuple):
    """Answer to one call of one API.

    Attributes:
        response: JSON value; `""` on an error.
        error: Error text; empty on success.
        outcome: Typed outcome.
        changes: Changes after the call; the same object as before if nothing changed.
        result: Result of the operation, with the rows of the response alone; `None` if it did not run.
    """

    response: Any
    error: str
    outcome: Outcome
    changes: Changes
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class VendorInfo:
    """Part of a vendor that its APIs use.

    Attributes:
        index: Position among the world's vendors.
        style: Style of its documentation and answers.
        login_name: Name of its login API; empty without one.
    """

    index: int
    style: VendorStyle
    login_name: str

    def token(self, seed: int, changes: Changes) -> str:
        """Return the token of this vendor for the episode of `changes` in the world of `seed`."""
        return digest("token", seed, self.index, changes.salt)[:3].hex()


class VendorApi:
    """One API of a vendor.

    Args:
        rows: Maximum number of rows of an answer without pages.

    Attributes:
        vendor: The vendor.
        operation: Operation that it runs.
        spec: Documentation, in StableToolBench's format.
        slots: Inputs of the operation, and `token` or `page` if the vendor needs them.
        parameters: Parameter name by input name.
        login_api: API that returns the `token` of a call; `None` if a call needs no token.
        health: Health.
        layout: Layout of its answers.
    """

    def __init__(
        self,
        vendor: VendorInfo,
        operation: Operation,
        spec: ApiSpec,
        slots: Mapping[str, Slot],
        parameters: Mapping[str, str],
        health: Health,
        layout: Layout,
        rows: int,
        login_api: VendorApi | None,
    ) -> None:
        self.vendor = vendor
        self.operation = operation
        self.spec = spec
        self.slots = slots
        self.parameters = parameters
        self.login_api = login_api
        self.health = health
        self.layout = layout
        self._rows = rows
        self._outage = _OUTAGES.get(health)
        self._codecs = {name: codec_of(slot.type, vendor.style.values) for name, slot in slots.items()}
        self._by_name = key_by_name(parameters)

    def __repr__(self) -> str:
        return f"VendorApi({'/'.join(self.key)}, {self.operation.name})"

    @property
    def key(self) -> tuple[str, str, str]:
        """Standardised category, tool and API name."""
        return self.spec.key

    @property
    def pages(self) -> bool:
        """True if answers have pages, selected by the input `page` (from 1)."""
        return PAGE_INPUT in self.slots

    def encode_arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Encode semantic values (and `token`, `page`) as arguments. Raises `KeyError` for an unknown input."""
        encoded = {}
        for name, value in values.items():
            codec = self._codecs[name]
            encoded[self.parameters[name]] = value if codec.encode is None else codec.encode(value)
        return encoded

    def decode_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Decode a JSON object to semantic values, without defaults. Raises `Refusal` for an invalid or missing one.

        Unknown parameters are ignored, as web servers do; `null` counts as absent.
        """
        named = self._by_name
        given = {named[name]: value for name, value in arguments.items() if name in named and value is not None}
        values = {}
        for name, slot in self.slots.items():
            if name in given:
                values[name] = _decoded(given[name], self.parameters[name], slot, self._codecs[name])
            elif slot.required:
                raise Refusal(Outcome.INVALID_ARGUMENTS, f"Missing required parameter '{self.parameters[name]}'.")
        return values

    def render(self, result: Result, page: int = 1) -> Any:
        """Return the JSON value of a result that `shown` returned."""
        return self.layout.render(result.rows, result.total, page)

    def read(self, response: Any) -> list[dict[str, Any]]:
        """Return the rows of a response as semantic values: the inverse of `render` up to the rounding of units."""
        return self.layout.read(response)

    def shown(self, result: Result, page: int = 1) -> Result:
        """Return the rows of one page of a result, with old values if the API is stale."""
        size = self.layout.page_size
        start = (page - 1) * size if size else 0
        rows = result.rows[start : start + (size or self._rows)]
        if self.health is Health.STALE:
            rows = tuple(self._aged(row) for row in rows)
        return result if rows is result.rows else result._replace(rows=rows)

    @property
    def needs_token(self) -> bool:
        """True if a call needs the token of the vendor's login API."""
        return self.login_api is not None

    def answer(self, world: World, arguments: Mapping[str, Any], changes: Changes) -> VendorAnswer:
        """Answer a call with any JSON object as arguments. Every error is a typed outcome."""
        if self._outage is not None:
            return self._refused(self._outage, "", changes)
        try:
            values = self._admitted(world, arguments, changes)
        except Refusal as refusal:
            return self._refused(refusal.outcome, refusal.message, changes)
        page = values.pop(PAGE_INPUT, 1)
        result = world.execute(self.operation, values, changes)
        if result.outcome is not Outcome.OK:
            return self._refused(result.outcome, result.message, changes, result)
        shown = self.shown(result, page)
        return VendorAnswer(self.render(shown, page), "", Outcome.OK, result.changes, shown)

    def _admitted(self, world: World, arguments: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
        """Check the token and return the decoded arguments without it."""
        if self.login_api is None:
            return self.decode_arguments(arguments)
        # The token is checked first: with a wrong token, other parameters must not cause another error.
        spelled = self.parameters[TOKEN_INPUT]
        given = next((value for name, value in arguments.items() if self._by_name.get(name) == TOKEN_INPUT), None)
        if given is None or str(given).strip().lower() != self.vendor.token(world.seed, changes):
            login = self.vendor.login_name
            raise Refusal(Outcome.UNAUTHORIZED, f"Missing or invalid '{spelled}'. Get one from {login}.")
        values = self.decode_arguments(arguments)
        del values[TOKEN_INPUT]
        return values

    def _refused(self, outcome: Outcome, message: str, changes: Changes, result: Result | None = None) -> VendorAnswer:
        forms = _ERROR_TEXTS.get(outcome)
        text = forms[self.vendor.style.errors].format(message) if forms else message
        return VendorAnswer("", text, outcome, changes, result)

    def _aged(self, row: Row) -> Row:
        """Return a row with old values of its volatile outputs, the same at every call."""
        outputs = self.operation.outputs
        values = {
            name: _older(value, outputs[name], number("stale", self.vendor.index, row.entity, name))
            for name, value in row.values.items()
        }
        return Row(row.entity, values)


def _decoded(value: Any, spelled: str, slot: Slot, codec: Codec) -> Any:
    try:
        decoded = codec.decode(value)
    except ValueError as error:
        raise Refusal(Outcome.INVALID_ARGUMENTS, f"Parameter '{spelled}' must be {error}.") from None
    # A bound that was rounded to a foreign unit is accepted.
    slack = abs(decoded) * _SLACK if codec.foreign else 0
    if slot.low is not None and decoded < slot.low - slack:
        raise _outside(spelled, "at least", slot.low, codec)
    if slot.high is not None and decoded > slot.high + slack:
        raise _outside(spelled, "at most", slot.high, codec)
    return decoded


def _outside(spelled: str, words: str, bound: float, codec: Codec) -> Refusal:
    shown = bound if codec.encode is None else codec.encode(bound)
    return Refusal(Outcome.INVALID_ARGUMENTS, f"Parameter '{spelled}' must be {words} {shown}.")


def _older(value: Any, output: Output, draw: int) -> Any:
    if not output.volatile or isinstance(value, str | bool | None):
        return value
    older = round(value * (60 + draw % 30) / 100, output.type.decimals)
    return older if output.type.decimals else int(older)


def is_volatile(operation: Operation) -> bool:
    """Return True if an operation has volatile outputs: a stale vendor shows old values of them."""
    return any(output.volatile for output in operation.outputs.values())
