"""Data flow of a reference solution: the answers from which each call takes its values."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.complexfuncbench import GoldStep, canonical_value

_SOURCE = re.compile(r"can be retrieved from `/?(api/[\w/]+)`")
_ENDPOINT = re.compile(r"EndPoint: /?(\S+)")
_CHOICES = re.compile(r"One of ([^.]+)\.")


class Input(NamedTuple):
    """Value in canonical form that comes from earlier answers, and the indices of the calls whose answer has it."""

    value: Any
    holders: tuple[int, ...]


class Flow(NamedTuple):
    """Data flow into one call.

    Attributes:
        inputs: Values that come from earlier answers.
        unknown: Identifiers that neither an earlier answer nor the request has.
    """

    inputs: tuple[Input, ...]
    unknown: tuple[str, ...]


def data_flows(query: str, calls: Sequence[GoldStep], apis: Mapping[str, ApiSpec]) -> list[Flow]:
    """Return the data flow into each call of a reference solution.

    A value comes from an answer if the documentation says that the parameter is retrieved by another call, and an
    earlier answer has the value; also if the data refers to an answer and the request does not state the value. Of
    several answers that have it, those of the documented endpoint count, or else the one to which the data refers.
    """
    found = [_scalars_of(call.response) for call in calls]
    endpoints = [_endpoint(apis[call.api]) for call in calls]
    flows = []
    for index, call in enumerate(calls):
        inputs, unknown = [], []
        for value in _taken(query, call, apis[call.api]):
            holders = [step for step in range(index) if value.value in found[step]]
            documented = [step for step in holders if endpoints[step] == value.source]
            referred = [step for step in holders if step == value.referred]
            if holders:
                inputs.append(Input(value.value, tuple(documented or referred or holders)))
            elif value.source and not _states(query, value.value):
                unknown.append(str(value.value))
        flows.append(Flow(tuple(inputs), tuple(unknown)))
    return flows


class _Value(NamedTuple):
    value: Any
    source: str  # endpoint by which the documentation says that it is retrieved
    referred: int | None  # call to whose answer the data refers


def _taken(query: str, call: GoldStep, spec: ApiSpec) -> Iterator[_Value]:
    """Yield the values of a call that may come from earlier answers."""
    documented = {parameter.name: parameter for parameter in (*spec.required, *spec.optional)}
    for name, argument in call.arguments.items():
        parameter, referred = documented.get(name), call.references.get(name)
        source = _source(parameter)
        if parameter is not None and argument in _choices(parameter):
            continue
        if parameter is not None and parameter.type == "ARRAY":
            yield from (_Value(value, "", None) for value in _ids(argument) if not _states(query, value))
        elif source:
            parts = argument.split(",") if isinstance(argument, str) and "filter" in name else [argument]
            yield from (_Value(canonical_value(part), source, referred) for part in parts)
        elif referred is not None and not _states(query, argument):
            yield _Value(canonical_value(argument), "", referred)


def _source(parameter: Parameter | None) -> str:
    match = _SOURCE.search(parameter.description) if parameter is not None else None
    return match[1] if match else ""


def _endpoint(spec: ApiSpec) -> str:
    match = _ENDPOINT.search(spec.description)
    return match[1] if match else ""


def _choices(parameter: Parameter) -> list[str]:
    match = _CHOICES.match(parameter.description)
    return match[1].split(", ") if match else []


def _ids(value: Any) -> Iterator[Any]:
    """Yield the identifiers in a list of objects: the fields whose name ends with `Id`."""
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, dict):
            yield from (canonical_value(each) for name, each in entry.items() if name.lower().endswith("id"))


def _states(query: str, value: Any) -> bool:
    return str(value).casefold() in query.casefold()


def _scalars_of(answer: Any) -> set[Any]:
    """Return the texts and numbers in an answer, in canonical form."""
    found: set[Any] = set()
    waiting = [answer]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            found.add(canonical_value(value))
    return found
