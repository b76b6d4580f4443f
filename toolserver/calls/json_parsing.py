"""Parser of argument JSON: orjson for regular text, Python's parser for text that orjson rejects or rounds."""

import json
from typing import Any

import orjson

_CONTAINERS = (dict, list)
_EXACT_KINDS = frozenset({str, int, bool, type(None)})
_EXACT = 2.0**63  # orjson reads integers beyond 64 bits as floats, and two calls that differ would become one


def parse(text: str) -> Any:
    """Parse `text` with the result of `json.loads`. Raises `ValueError` when it is not JSON.

    `NaN`, lone surrogates and integers of any length are accepted, as by StableToolBench's server. Nesting beyond
    Python's recursion limit raises `ValueError`.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    else:
        if not holds_large_float(value):
            return value
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def holds_large_float(value: Any) -> bool:
    """Return whether `value` contains a float of at least 2**63, which may have been an integer in orjson's input."""
    kind = type(value)
    if kind is float:
        return bool(abs(value) >= _EXACT)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return False
    if _EXACT_KINDS.issuperset(map(type, value)):
        return False
    for item in value:  # noqa: SIM110 - `any` would cost a generator; most arguments are a few values
        if holds_large_float(item):
            return True
    return False


def is_deeper(value: dict[str, Any] | list[Any], limit: int) -> bool:
    """Return whether objects and arrays nest more than `limit` levels deep in `value` (itself level 1)."""
    depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        if depth > limit:
            return True
        level = [
            item
            for parent in level
            for item in (parent.values() if type(parent) is dict else parent)
            if type(item) in _CONTAINERS
        ]
    return False
