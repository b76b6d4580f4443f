"""The `Finish` function, which ends an episode, as ToolBench documents it."""

import json
from typing import Any, NamedTuple

from steptool_env.types import FINISH, GIVE_ANSWER, GIVE_UP
from toolserver.calls.json_parsing import check_nesting
from toolserver.catalog.api_schema import StatusCode

FINISH_FUNCTION: dict[str, Any] = {
    "name": FINISH,
    "description": (
        "If you believe that you have obtained a result that can answer the task, please call this function to provide "
        "the final answer. Alternatively, if you recognize that you are unable to proceed with the task in the current "
        "state, call this function to restart. Remember: you must ALWAYS call this function at the end of your "
        "attempt, and the only part that will be shown to the user is the final answer, so it should contain "
        "sufficient information."
    ),
    "parameters": {
        "type": "object",
        "properties": {
            "return_type": {"type": "string", "enum": [GIVE_ANSWER, GIVE_UP]},
            "final_answer": {
                "type": "string",
                "description": (
                    "The final answer you want to give the user. You should have this field if "
                    '"return_type"=="give_answer"'
                ),
            },
        },
        "required": ["return_type"],
    },
}
"""The schema, word for word as ToolBench offers it with every task (`rapidapi.py`)."""


class Finished(NamedTuple):
    """Result of a call of `Finish`.

    `status` is `FINAL_ANSWER`, `GAVE_UP`, or `BAD_INPUT` if the call is invalid and the episode continues.
    """

    status: StatusCode
    observation: str
    answer: str = ""


_ANSWERED = '{"response":"successfully giving the final answer."}'
_GAVE_UP = Finished(StatusCode.GAVE_UP, '{"response":"chose to give up and restart"}')
_NO_RETURN_TYPE = Finished(StatusCode.BAD_INPUT, '{error:"must have "return_type""}')
_NO_ANSWER = Finished(StatusCode.BAD_INPUT, '{error:"must have "final_answer""}')
_BAD_CHOICE = Finished(StatusCode.BAD_INPUT, '{error:""return_type" is not a valid choice"}')


_LENIENT = json.JSONDecoder(strict=False)  # creating one takes longer than decoding


def read_finish(arguments: str, parsed: dict[str, Any] | None = None) -> Finished:
    """Parse the arguments of a `Finish` call, with ToolBench's texts and rules.

    Arguments that are not JSON are searched for the two fields, as in ToolBench: its models often stop inside a long
    answer. `parsed` is the value of `arguments`, if the caller has parsed them.
    """
    fields = _fields(arguments) if parsed is None else parsed
    if "return_type" not in fields:
        return _NO_RETURN_TYPE
    if fields["return_type"] == GIVE_UP:
        return _GAVE_UP
    if fields["return_type"] != GIVE_ANSWER:
        return _BAD_CHOICE
    if "final_answer" not in fields:
        return _NO_ANSWER
    answer = fields["final_answer"]
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return Finished(StatusCode.FINAL_ANSWER, _ANSWERED, text)


def _fields(arguments: str) -> dict[str, Any]:
    try:
        check_nesting(arguments)
        fields = _LENIENT.decode(arguments)
    except ValueError:
        return _salvage(arguments)
    return fields if isinstance(fields, dict) else {}


def _salvage(arguments: str) -> dict[str, Any]:
    """Return the two fields of a broken JSON object, by ToolBench's rules."""
    fields: dict[str, Any] = {}
    for choice in (GIVE_ANSWER, GIVE_UP):
        if f'"return_type": "{choice}"' in arguments:
            fields.setdefault("return_type", choice)
    _, found, answer = arguments.partition('"final_answer": "')
    if found:
        fields["final_answer"] = answer
    return fields
