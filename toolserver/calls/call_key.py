"""Canonical keys of calls: two calls have the same key exactly when they may share an answer.

The key is BLAKE2b-16 of the standardised names and the canonical text of the arguments. StableToolBench's server uses
`str(arguments)` of the parsed JSON as its key. Calls with different keys there have different keys here, except calls
that differ only in the order of names:

| arguments | the same call? |
|---|---|
| `{"a": 1, "b": 2}` and `{"b": 2, "a": 1}` | yes: JSON objects have no order (their server: no) |
| `{"a": 1e3}` and `{"a": 1000.0}` | yes: the same number, read from two texts |
| `{"a": 1}`, `{"a": 1.0}`, `{"a": "1"}` and `{"a": true}` | no: an API may treat each differently |
| `{"a": ""}`, `{"a": null}` and `{}` | no: no argument is dropped and no default is filled in |
| `NaN`, `Infinity` and `null` | no |
| integers beyond 64 bits, lone surrogates | kept exactly |
| argument names that are not strings | rejected (`DataError`): not JSON |
"""

import json
from hashlib import blake2b
from math import isfinite
from typing import Any

import orjson

from toolserver.calls.json_parsing import MAX_NESTING, values_in
from toolserver.calls.naming import api_key
from toolserver.errors import DataError

KEY_BYTES = 16


def canonical_arguments(arguments: dict[str, Any]) -> bytes:
    """Return the arguments as sorted, minimal JSON text. Raises `DataError` if they are not JSON data."""
    try:
        text = orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # orjson's limits (64 bits, 254 levels, surrogates), or not JSON
        return _canonical_slow(arguments)
    # orjson writes NaN as null, and the two must have different keys.
    if b"null" in text and _holds_non_finite(arguments):
        return _canonical_slow(arguments)
    return text


def canonical_key(category: str, tool: str, api: str, arguments: dict[str, Any]) -> bytes:
    """Return the 16-byte key of a call. Raises `DataError` if the arguments are not JSON data."""
    return key_of_text(api_key(category, tool, api), canonical_arguments(arguments))


def key_of_text(names: tuple[str, str, str], arguments: bytes) -> bytes:
    """Return the key of standardised names (`naming.api_key`) and canonical arguments.

    Only the category can contain a line break, and it comes first, so the joined text is unambiguous.
    """
    text = "\n".join(names).encode("utf-8", "surrogatepass")
    return blake2b(text + b"\n" + arguments, digest_size=KEY_BYTES).digest()


def _canonical_slow(arguments: dict[str, Any]) -> bytes:
    _check_json(arguments, "arguments", 0)
    try:
        return json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:  # not JSON data; an integer of thousands of digits
        raise DataError(f"arguments are not JSON data: {error}") from None


def _check_json(value: Any, where: str, depth: int) -> None:
    """Raise `DataError` for values that `json.dumps` would convert, and for nesting beyond `MAX_NESTING`."""
    if depth > MAX_NESTING:
        raise DataError(f"arguments are nested deeper than {MAX_NESTING} levels")
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise DataError(f"argument name {name!r} in {where} is not a string")
            _check_json(item, name, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_json(item, where, depth + 1)


def _holds_non_finite(arguments: dict[str, Any]) -> bool:
    return any(isinstance(value, float) and not isfinite(value) for value in values_in(arguments))
