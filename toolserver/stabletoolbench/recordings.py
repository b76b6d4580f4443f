"""Conversion of the steps of judged runs into recorded calls."""

import json
import re
from collections.abc import Mapping
from typing import Any

from toolserver.calls.json_parsing import parse
from toolserver.catalog.api_schema import ToolCall
from toolserver.errors import DataError
from toolserver.stabletoolbench.responses import RecordedCall, recorded_call
from toolserver.stabletoolbench.runs import RunStep

_FINISH = "Finish"
_CUT = "..."
_TEXT = r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*'  # content of a JSON string
_CUT_RESPONSE = re.compile(rf'\{{"error": "({_TEXT})", "response": (.*)\.\.\.', re.DOTALL)
_CUT_ERROR = re.compile(rf'\{{"error": "({_TEXT}).*\.\.\.', re.DOTALL)
_TEXT_PREFIX = re.compile(_TEXT)

ApiKey = tuple[str, str, str]


class NotRecorded(Exception):  # noqa: N818 (not an error)
    """A step that records no call of an API. The text is the reason, and equal for equal reasons."""


def recorded_step(step: RunStep, functions: Mapping[str, ApiKey], source: str) -> RecordedCall:
    """Return the call that a step records.

    Args:
        step: A step of a judged run.
        functions: API by name of function, as they were offered.
        source: Place of the step, for the entry.

    Raises:
        NotRecorded: The step called no API, or its answer is not known.
    """
    if step.name == _FINISH:
        raise NotRecorded("Finish calls no tool")
    api = functions.get(step.name)
    if api is None:
        raise NotRecorded("the function was not offered")
    try:
        arguments = parse(step.arguments) if step.arguments else {}
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise NotRecorded("the arguments are not a JSON object")
    value, was_cut = _answer(step.response)
    try:
        return recorded_call(ToolCall(*api, arguments), value, f"{source}, cut" if was_cut else source)
    except DataError:
        raise NotRecorded("the response is not an answer of a tool") from None


def _answer(response: str) -> tuple[Any, bool]:
    """Return the value of a recorded response, and whether it was cut.

    Of a cut answer, text is kept as text; an object or array, which can no longer be read, as its source text.
    """
    try:
        return json.loads(response, parse_constant=str), False
    except (ValueError, RecursionError):
        pass
    found = _CUT_RESPONSE.fullmatch(response)
    if found:
        error, rest = found.groups()
        content = _unescape(rest[1:]) if rest.startswith('"') else rest
        return {"error": _unescape(error), "response": content + _CUT}, True
    found = _CUT_ERROR.fullmatch(response)
    return ({"error": _unescape(found[1]) + _CUT, "response": ""}, True) if found else (None, False)


def _unescape(text: str) -> str:
    """Decode the content of a JSON string, without an escape that was cut at its end."""
    whole = _TEXT_PREFIX.match(text)
    unescaped = str(json.loads(f'"{whole[0]}"', strict=False)) if whole else ""
    return unescaped[:-1] if "\ud800" <= unescaped[-1:] <= "\udbff" else unescaped
