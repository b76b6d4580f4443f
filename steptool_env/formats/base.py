"""Protocol of call formats, and the parsing of arguments that all formats share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from steptool_env.types import Action
from toolserver.calls.json_parsing import check_nesting, parse

FunctionSchema = Mapping[str, Any]
"""`{"name", "description", "parameters"}`, as OpenAI's API describes a function."""


class Format(Protocol):
    """Conversion of tool calls to text and back, and the description of tools in a prompt.

    `parse` accepts any text and never raises: invalid text becomes an `Action` with an `error`. `parse(render(...))`
    restores the name, the arguments (as JSON values) and the thought.

    Attributes:
        name: Name for `make_format`: a built-in name or `module:factory`.
        native: True if chat models are trained on the format, so that their chat template or server describes the
            functions.
        tool_role: Role of chat messages with a tool's response, as chat templates name it; `user` by default.
        rule: Output rule in ToolBench's system text, after "to actually excute your step."
        example: Shortest example of a call, for prompts without `offer`.
    """

    name: str
    native: bool
    tool_role: str
    rule: str
    example: str

    def parse(self, text: str) -> Action:
        """Parse a model's text."""

    def render(self, name: str, arguments: str | Mapping[str, Any], thought: str = "") -> str:
        """Return a call as text. `arguments` is an object, or the text of a JSON object, which is kept as it is."""

    def offer(self, functions: Sequence[FunctionSchema]) -> str:
        """Return the part of the prompt that describes the functions and the call format."""


_LENIENT = json.JSONDecoder(strict=False)  # creating one takes longer than decoding


def arguments_text(arguments: str | Mapping[str, Any]) -> str:
    """Return arguments as JSON text."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def read_object(text: str) -> dict[str, Any] | None:
    """Return `text` as a JSON object; `None` for anything else."""
    try:
        check_nesting(text)
        value = _LENIENT.decode(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def call_action(text: str, name: Any, arguments: Any, thought: str) -> Action:
    """Return the action of a call, with the error in its parts, if any.

    `arguments` is JSON text, or a value inside a larger JSON value. The tool server uses the same `parse`, so it
    accepts the same arguments.
    """
    if not isinstance(name, str) or not name:
        return Action(text, thought=thought, error="the call has no function name")
    value = arguments
    try:
        if isinstance(arguments, str):
            written, value = arguments, parse(arguments) if arguments else {}
        else:
            written = json.dumps(arguments, ensure_ascii=False)
    except ValueError:
        return Action(text, name, arguments, thought, "the arguments are not JSON")
    if not isinstance(value, dict):
        return Action(text, name, written, thought, "the arguments are not a JSON object")
    return Action(text, name, written, thought, "", value)
