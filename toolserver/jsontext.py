"""Reading JSON as models and clients write it: fast where the text is plain, exact where it is not."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# orjson turns integers beyond 64 bits into floats, and two calls that differ would become one.
_LONG_INTEGER = re.compile(r"\d{19}")


def parse(text: str) -> Any:
    """The value of `text`, as `json.loads` reads it. Raises `ValueError` when it is no JSON.

    `NaN`, lone surrogates and integers of any length are accepted, as StableToolBench's server accepts them; nesting
    beyond what Python can hold is refused like any other bad text.
    """
    if len(text) < 19 or not _LONG_INTEGER.search(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_deeper(value: Any, limit: int) -> bool:
    """Whether objects and arrays are nested in `value` more than `limit` levels deep (`value` itself is level 1)."""
    level = [value]
    for _ in range(limit):
        level = [item for parent in level if isinstance(parent, dict | list) for item in _children(parent)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value
