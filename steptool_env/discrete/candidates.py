"""Candidate calls: every offered function with the bindings of its parameters that fit best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from steptool_env.discrete.tools import Tool, ToolParameter
from steptool_env.discrete.values import Form, Value

_PER_PARAMETER = 6
_PER_TOOL = 12
_FEW = 4  # values per parameter of functions with more than two


class Fit(NamedTuple):
    """How well a value suits a parameter: same field name, words in common with it or with its function, form."""

    value: Value
    named: bool
    akin: bool
    topical: bool
    first_form: bool

    @property
    def score(self) -> float:
        """One number to sort by; the policy sees the parts."""
        return 4.0 * self.named + 2.0 * self.akin + 1.0 * self.topical + 0.5 * self.first_form


@dataclass(frozen=True)
class Candidate:
    """One action that can be taken.

    Attributes:
        name: The function to call.
        arguments: Its arguments.
        tool: The offered function; `None` for `Finish`.
        fits: For a call, how each bound value suits its parameter.
        shown: For an answer, the values that it states.
        source: For an answer, the index of the answer of a tool that they come from; -1 when it states none.
        column: For an answer, whether it states a field of every row.
    """

    name: str
    arguments: dict[str, Any]
    tool: Tool | None = None
    fits: tuple[Fit, ...] = ()
    shown: tuple[Value, ...] = ()
    source: int = -1
    column: bool = False
    page: int = field(default=1)


def calls_of(tool: Tool, values: Sequence[Value]) -> list[Candidate]:
    """The calls of a function whose arguments fit best, best first; none when a required parameter has no value."""
    required = [parameter for parameter in tool.parameters if parameter.required]
    most = _PER_PARAMETER if len(required) <= 2 else _FEW
    options = [_fitting(parameter, tool, values)[:most] for parameter in required]
    extras = list(_extras(tool, values))
    found = sorted(_bindings(options), key=lambda fits: -sum(fit.score for fit in fits))[:_PER_TOOL]
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


def _bindings(options: Sequence[Sequence[Fit]]) -> Iterator[tuple[Fit, ...]]:
    """Every choice of one fit per parameter that uses no value twice."""
    for fits in product(*options):
        if len({id(fit.value) for fit in fits}) == len(fits):
            yield fits


def _extras(tool: Tool, values: Sequence[Value]) -> Iterator[tuple[ToolParameter, Fit]]:
    """Optional parameters of which the query speaks, with the value that it gives."""
    for parameter in tool.parameters:
        if not parameter.required:
            stated = (fit for fit in _fitting(parameter, tool, values) if fit.akin and fit.value.step < 0)
            best = next(stated, None)
            if best is not None:
                yield parameter, best


def _fitting(parameter: ToolParameter, tool: Tool, values: Sequence[Value]) -> list[Fit]:
    """The values that suit a parameter best; of two alike the later one."""
    fits = [_fit(parameter, tool, value) for value in values if _takes(parameter, value)]
    fits.sort(key=lambda fit: (-fit.score, -fit.value.step))
    return fits[:_PER_PARAMETER]


def _takes(parameter: ToolParameter, value: Value) -> bool:
    if parameter.choices:
        return value.value in parameter.choices
    return value.form in parameter.forms or value.field == parameter.name


def _fit(parameter: ToolParameter, tool: Tool, value: Value) -> Fit:
    named = bool(value.field) and value.field == parameter.name
    first = value.is_id if parameter.forms == {Form.ID} else value.form is not Form.ID
    return Fit(value, named, bool(parameter.words & value.about), bool(tool.words & value.about), first)
