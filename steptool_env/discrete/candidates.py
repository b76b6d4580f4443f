"""Candidate calls: every offered function with the best-fitting arguments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from steptool_env.discrete.tools import Tool, ToolParameter
from steptool_env.discrete.values import Form, ObservedValue

_PER_PARAMETER = 6
_PER_TOOL = 12
_FEW = 4  # values per parameter of functions with more than two


class Fit(NamedTuple):
    """Fit of a value to a parameter: same field name, common words with it or its function, form."""

    value: ObservedValue
    named: bool
    akin: bool
    topical: bool
    first_form: bool

    @property
    def score(self) -> float:
        """Weighted sum, for sorting. The policy sees the parts."""
        return 4.0 * self.named + 2.0 * self.akin + 1.0 * self.topical + 0.5 * self.first_form


@dataclass(frozen=True)
class Candidate:
    """One possible action.

    Attributes:
        name: Name of the function.
        arguments: Arguments of the call.
        tool: Offered function; `None` for `Finish`.
        fits: Fit of each argument (calls only).
        shown: Values in the answer (`Finish` only).
        source: Index of the tool result of these values; -1 without values (`Finish` only).
        column: True if the answer states one field of every row (`Finish` only).
        page: Page of a paged result, from 1.
    """

    name: str
    arguments: dict[str, Any]
    tool: Tool | None = None
    fits: tuple[Fit, ...] = ()
    shown: tuple[ObservedValue, ...] = ()
    source: int = -1
    column: bool = False
    page: int = 1


def calls_of(tool: Tool, values: Sequence[ObservedValue]) -> list[Candidate]:
    """Return the best-fitting calls of a function, best first; none if a required parameter has no value."""
    required = [parameter for parameter in tool.parameters if parameter.required]
    most = _PER_PARAMETER if len(required) <= 2 else _FEW
    options = [_fitting(parameter, tool, values)[:most] for parameter in required]
    extras = list(_extras(tool, values))
    distinct = (fits for fits in product(*options) if len({id(fit.value) for fit in fits}) == len(fits))
    found = sorted(distinct, key=lambda fits: -sum(fit.score for fit in fits))[:_PER_TOOL]
    calls = []
    for fits in found:
        arguments = {parameter.name: fit.value.value for parameter, fit in zip(required, fits, strict=True)}
        used = {id(fit.value) for fit in fits}
        more = [(parameter, fit) for parameter, fit in extras if id(fit.value) not in used]
        if more:
            stated = {parameter.name: fit.value.value for parameter, fit in more}
            calls.append(Candidate(tool.name, arguments | stated, tool, fits + tuple(fit for _, fit in more)))
        calls.append(Candidate(tool.name, arguments, tool, fits))
    return calls[:_PER_TOOL]


def _extras(tool: Tool, values: Sequence[ObservedValue]) -> Iterator[tuple[ToolParameter, Fit]]:
    """Yield the optional parameters that the query mentions, with their values."""
    for parameter in tool.parameters:
        if not parameter.required:
            stated = (fit for fit in _fitting(parameter, tool, values) if fit.akin and fit.value.step < 0)
            best = next(stated, None)
            if best is not None:
                yield parameter, best


def _fitting(parameter: ToolParameter, tool: Tool, values: Sequence[ObservedValue]) -> list[Fit]:
    """Return the best-fitting values of a parameter; later values first among equals."""
    fits = [_fit(parameter, tool, value) for value in values if _takes(parameter, value)]
    fits.sort(key=lambda fit: (-fit.score, -fit.value.step))
    return fits[:_PER_PARAMETER]


def _takes(parameter: ToolParameter, value: ObservedValue) -> bool:
    if parameter.choices:
        return value.value in parameter.choices
    return value.form in parameter.forms or value.field == parameter.name


def _fit(parameter: ToolParameter, tool: Tool, value: ObservedValue) -> Fit:
    named = bool(value.field) and value.field == parameter.name
    first = value.is_id if parameter.forms == {Form.ID} else value.form is not Form.ID
    return Fit(value, named, bool(parameter.words & value.about), bool(tool.words & value.about), first)
