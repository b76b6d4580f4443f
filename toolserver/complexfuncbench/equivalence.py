"""Canonical form of a call: two calls of ComplexFuncBench are equal exactly when their canonical forms are.

The benchmark compares names and arguments, `categories_filter` as a set; next the answers of the live API; last it asks
a model. Recordings allow the first two. The live API takes other spellings of one argument, too, and these
writings are equal here:

| arguments | equal? |
|---|---|
| other order of names; `toId`, `toid`; `id`, `is_id` (the offered name) | yes |
| `2`, `2.0` and `"2"`; `48.85` and `"48.85"` | yes: the API reads text |
| `null` or `""`, and no such argument | yes |
| `adults`, `room_qty` or `radius` at the documented default, and no such argument | yes |
| lists as JSON text; other spaces in `"4, 6"` | yes |
| other order in `categories_filter` | yes, as in the benchmark |
| other case or spaces in the text of a look-up (`query`) | yes |
| another order of ages or legs, other words in `query`, any other value | no |
"""

import re
from typing import Any

from toolserver.calls.json_parsing import parse
from toolserver.calls.naming import parameter_name
from toolserver.catalog.api_schema import ApiSpec, Parameter

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?")
_TEXT = "query"
_SET = "categories_filter"
_LISTS = frozenset({"children", "children_age", _SET})


def canonical_call(spec: ApiSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical arguments of a call, with the parameter names that are offered to a model."""
    documented = {parameter_name(each.name): each for each in (*spec.required, *spec.optional)}
    named = ((parameter_name(name), value) for name, value in arguments.items())
    values = {name: _argument(name, documented.get(name), value) for name, value in named}
    return {name: value for name, value in values.items() if not _is_omitted(documented.get(name), value)}


def canonical_value(value: Any) -> Any:
    """Return the canonical form of one value: a number that is written as text becomes a number."""
    if isinstance(value, str):
        text = value.strip()
        return _number(float(text) if "." in text else int(text)) if _NUMBER.fullmatch(text) else text
    if isinstance(value, dict):
        return {parameter_name(name): canonical_value(each) for name, each in value.items()}
    if isinstance(value, list):
        return [canonical_value(each) for each in value]
    return _number(value) if isinstance(value, float) else value


def is_lookup(spec: ApiSpec) -> bool:
    """Return True for an API that finds a place by its name, the "free functions" of the benchmark."""
    return [parameter.name for parameter in (*spec.required, *spec.optional)] == [_TEXT]


def _argument(name: str, parameter: Parameter | None, value: Any) -> Any:
    if name == _TEXT and isinstance(value, str):
        return " ".join(value.casefold().split())
    if name in _LISTS:
        return _listed(name, value)
    if parameter is not None and parameter.type == "ARRAY" and isinstance(value, str) and value.lstrip()[:1] == "[":
        value = _parsed(value)
    return canonical_value(value)


def _listed(name: str, value: Any) -> Any:
    """Return comma-separated text without spaces, from text, a number or a list of them; other values as they are."""
    entries = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in entries):
        return canonical_value(value)
    words = [str(canonical_value(each)) for each in entries]
    return ",".join(sorted(set(words)) if name == _SET else words)


def _is_omitted(parameter: Parameter | None, value: Any) -> bool:
    default = "" if parameter is None else parameter.default
    return value is None or value == "" or (default != "" and not isinstance(value, bool) and value == default)


def _number(value: float) -> int | float:
    return int(value) if abs(value) < 2**53 and value == int(value) else value


def _parsed(text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        return text
