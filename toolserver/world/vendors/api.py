"""One API of a vendor: an operation of the world under the vendor's names, units and layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from toolserver.catalog.api_schema import ApiSpec, Outcome
from toolserver.world.changes import Changes
from toolserver.world.schema import Operation, Output, Refusal, Result, Row, Slot
from toolserver.world.seeded_random import digest, number
from toolserver.world.vendors.error_texts import worded
from toolserver.world.vendors.naming import key_by_name
from toolserver.world.vendors.response_layout import Layout
from toolserver.world.vendors.style import VendorStyle
from toolserver.world.vendors.value_codecs import Codec, codec_of
from toolserver.world.world import World

_SLACK = 1e-3  # relative: what rounding to another unit may add to a bound
TOKEN_INPUT, PAGE_INPUT = "token", "page"


class Health(StrEnum):
    """Whether an API can be relied on."""

    OK = "ok"
    STALE = "stale"  # answers, but with old values where values change with time
    BROKEN = "broken"  # answers every call with an error
    CLOSED = "closed"  # answers every call with a refusal: the plan does not include it


_OUTAGES = {Health.BROKEN: Outcome.UNAVAILABLE, Health.CLOSED: Outcome.FORBIDDEN}


class VendorAnswer(NamedTuple):
    """The answer to one call of one API.

    Attributes:
        response: The JSON value, `""` when there is an error.
        error: The error text, empty on success.
        outcome: The typed outcome.
        delta: The changes after the call; the very object that was passed in when nothing changed.
        result: What the world gave, with only those rows that the response shows; `None` when it was not asked.
    """

    response: Any
    error: str
    outcome: Outcome
    delta: Changes
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

    def token(self, seed: int, delta: Changes) -> str:
        """Return the token of this vendor for the episode of `delta` in the world of `seed`."""
        return digest("token", seed, self.index, delta.salt)[:3].hex()


class VendorApi:
    """One API of a vendor.

    Args:
        rows: Most rows that an answer shows when the vendor does not page.

    Attributes:
        vendor: The vendor.
        operation: What the API does.
        spec: Its documentation, in StableToolBench's form.
        slots: Its inputs: those of the operation, and `token` or `page` where the vendor wants them.
        parameters: The vendor's parameter name by input name.
        login_api: The API whose `token` a call needs; `None` when a call needs no token.
        health: Whether it can be relied on.
        layout: The shape of its answers.
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
        """Category, tool and API name, standardised."""
        return self.spec.key

    @property
    def pages(self) -> bool:
        """Whether answers come in pages, chosen by the input `page` (from 1)."""
        return PAGE_INPUT in self.slots

    def encode_arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Semantic values (and `token`, `page`) as this vendor wants them. Raises `KeyError` for an unknown input."""
        encoded = {}
        for name, value in values.items():
            codec = self._codecs[name]
            encoded[self.parameters[name]] = value if codec.encode is None else codec.encode(value)
        return encoded

    def decode_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The semantic values behind any JSON object, defaults left out. Raises `Refusal` when they do not fit.

        Unknown parameters are ignored, as web servers ignore them; `null` counts as absent.
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
        """The JSON value that shows a result's rows (those of `shown`)."""
        return self.layout.render(result.rows, result.total, page)

    def read(self, response: Any) -> list[dict[str, Any]]:
        """The rows of a response as semantic values: the inverse of `render`, up to the rounding of units."""
        return self.layout.read(response)

    def shown(self, result: Result, page: int = 1) -> Result:
        """The part of a result that one answer shows, with old values where the vendor is stale."""
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

    def answer(self, world: World, arguments: Mapping[str, Any], delta: Changes) -> VendorAnswer:
        """Answer a call with any JSON object as arguments. Every error is a typed outcome."""
        if self._outage is not None:
            return self._refused(self._outage, "", delta)
        try:
            values = self._admitted(world, arguments, delta)
        except Refusal as refusal:
            return self._refused(refusal.outcome, refusal.message, delta)
        page = values.pop(PAGE_INPUT, 1)
        result = world.execute(self.operation, values, delta)
        if result.outcome is not Outcome.OK:
            return self._refused(result.outcome, result.message, delta, result)
        shown = self.shown(result, page)
        return VendorAnswer(self.render(shown, page), "", Outcome.OK, result.delta, shown)

    def _admitted(self, world: World, arguments: Mapping[str, Any], delta: Changes) -> dict[str, Any]:
        """The decoded arguments without the token, once it holds."""
        if self.login_api is None:
            return self.decode_arguments(arguments)
        # Servers look at credentials first: a wrong token must not be told about other parameters.
        spelled = self.parameters[TOKEN_INPUT]
        given = next((value for name, value in arguments.items() if self._by_name.get(name) == TOKEN_INPUT), None)
        if given is None or str(given).strip().lower() != self.vendor.token(world.seed, delta):
            login = self.vendor.login_name
            raise Refusal(Outcome.UNAUTHORIZED, f"Missing or invalid '{spelled}'. Get one from {login}.")
        values = self.decode_arguments(arguments)
        del values[TOKEN_INPUT]
        return values

    def _refused(self, outcome: Outcome, message: str, delta: Changes, result: Result | None = None) -> VendorAnswer:
        return VendorAnswer("", worded(outcome, message, self.vendor.style.errors), outcome, delta, result)

    def _aged(self, row: Row) -> Row:
        """A row as it was years ago: values that change with time differ, the same way at every call."""
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
    # A bound that was rounded to a foreign unit must pass when it comes back.
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
    """Whether an operation shows values that change with time, so that a stale vendor can be wrong about it."""
    return any(output.volatile for output in operation.outputs.values())
