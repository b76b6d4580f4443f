"""What a format is, and the reading of arguments that all formats share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from steptool_env.types import Action
from toolserver.calls.json_parsing import parse

FunctionSchema = Mapping[str, Any]
"""`{"name", "description", "parameters"}`, as OpenAI's API describes a function."""


class Format(Protocol):
    """How a model writes a call as text, and how its tools are described to it.

    `parse` accepts any text and never raises: what is no call becomes an `Action` with an `error`.
    `parse(render(...))` gives back the name, the arguments (as JSON values) and the thought.

    Attributes:
        name: The name by which `make_format` finds it.
        native: Whether chat models know the format by themselves, so that their template or their
            server describes the functions and a chat message need not.
        tool_role: The role of a chat message that holds a tool's answer, as templates of models that know the format
            name it; `user` where there is none.
        rule: What ToolBench's system text says about the output, after "to actually excute your step."
        example: A call, as short as it goes, for prompts that have no room for `offer`.
    """

    name: str
    native: bool
    tool_role: str
    rule: str
    example: str

    def parse(self, text: str) -> Action:
        """Read a model's text."""
        ...

    def render(self, name: str, arguments: str, thought: str = "") -> str:
        """Write a call. `arguments` is the text of a JSON object."""
        ...

    def offer(self, functions: Sequence[FunctionSchema]) -> str:
        """Tell a model which functions it has and how to write a call."""
        ...


_LENIENT = json.JSONDecoder(strict=False)  # making one takes longer than reading with it


def read_object(text: str) -> dict[str, Any] | None:
    """`text` as a JSON object, or `None` when it is anything else."""
    try:
        value = _LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def call_action(text: str, name: Any, arguments: Any, thought: str) -> Action:
    """The action of a call whose parts were found, with the error in them, if any.

    `arguments` is JSON text, or a value that came inside a larger JSON value. The tool server parses text with the same
    `parse`, so it refuses no arguments that are accepted here.
    """
    if not isinstance(name, str) or not name:
        return Action(text, thought=thought, error="the call has no function name")
    value = arguments
    try:
        if isinstance(arguments, str):
            written, value = arguments, parse(arguments) if arguments else {}
        else:
            written = json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        return Action(text, name=name, thought=thought, error="the arguments are nested too deeply")
    except ValueError:
        return Action(text, name, arguments, thought, "the arguments are not JSON")
    if not isinstance(value, dict):
        return Action(text, name, written, thought, "the arguments are not a JSON object")
    return Action(text, name, written, thought, "", value)
