"""Parser of argument JSON: orjson for regular text, Python's parser for text that orjson rejects or rounds."""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

MAX_NESTING = 128
"""Maximum nesting of objects and arrays that is parsed: above any setting of `max_depth`, and so far below Python's
recursion limit that functions that recurse in a parsed value do not reach it."""

_CONTAINERS = (dict, list)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)  # a string, even an unterminated one; a bracket
_EXACT_KINDS = frozenset({str, int, bool, type(None)})
_EXACT = 2.0**63  # orjson reads integers beyond 64 bits as floats, and two calls that differ would become one


def parse(text: str) -> Any:
    """Parse `text` with the result of `json.loads`. Raises `ValueError` when it is not JSON.

    `NaN`, lone surrogates and integers of any length are accepted, as by StableToolBench's server. Nesting beyond
    `MAX_NESTING` raises `ValueError`.
    """
    try:
        value = orjson.loads(text)  # does not recurse in Python, and refuses more than 1,024 levels
    except orjson.JSONDecodeError:
        check_nesting(text)
        return json.loads(text)
    if _may_nest(text) and type(value) in _CONTAINERS and is_deeper(value, MAX_NESTING):
        raise _too_deep()
    return json.loads(text) if holds_large_float(value) else value


def check_nesting(text: str) -> None:
    """Raise `ValueError` if the JSON value at the start of `text` nests deeper than `MAX_NESTING`.

    Called before a parser that recurses. Text after an object or array is ignored. Text that is not JSON may
    pass: the parser refuses it, and reads no further than the first error.
    """
    if not _may_nest(text):
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise _too_deep()
        elif mark in "]}":
            depth -= 1
            if depth == 0:
                return


def cut_nesting(text: str) -> str:
    """Return JSON text with the objects and arrays deeper than `MAX_NESTING` emptied.

    The result can be parsed without recursion errors, and is still nested too deeply for every check of `is_deeper`.
    """
    if not _may_nest(text):
        return text
    kept, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark in "[{":
            depth += 1
            if depth == MAX_NESTING + 1:
                kept.append(text[start : token.end()])
        elif mark in "]}":
            if depth == MAX_NESTING + 1:
                start = token.start()
            depth -= 1
    return "".join(kept) + text[start:] if depth <= MAX_NESTING else "".join(kept)


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {MAX_NESTING} levels")


def _may_nest(text: str) -> bool:
    """Return whether `text` has more opening brackets than levels are allowed; counting is far faster than parsing."""
    return len(text) > MAX_NESTING and text.count("[") + text.count("{") > MAX_NESTING


def holds_large_float(value: Any) -> bool:
    """Return whether `value` contains a float of at least 2**63, which may have been an integer in orjson's input."""
    kind = type(value)
    if kind is float:
        return bool(abs(value) >= _EXACT)
    if kind is dict and _EXACT_KINDS.issuperset(map(type, value.values())):  # most arguments
        return False
    waiting = [value] if kind in _CONTAINERS else []
    while waiting:
        parent = waiting.pop()
        values = parent.values() if type(parent) is dict else parent
        if _EXACT_KINDS.issuperset(map(type, values)):
            continue
        for item in values:
            if type(item) in _CONTAINERS:
                waiting.append(item)
            elif type(item) is float and abs(item) >= _EXACT:
                return True
    return False


def values_in(value: Any) -> Iterator[Any]:
    """Yield `value` and every value inside its objects and arrays, without recursion, in no given order."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)


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
