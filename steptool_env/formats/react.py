"""Format of ToolBench, ReAct: `Thought:`, `Action:`, `Action Input:`."""

from collections.abc import Mapping, Sequence
from typing import Any

from steptool_env.formats.base import FunctionSchema, arguments_text, call_action
from steptool_env.types import Action

_THOUGHT, _ACTION, _INPUT = "Thought:", "Action:", "Action Input:"


class ReactFormat:
    """Format of ToolLLaMA's training data (`react_parser` of ToolBench).

    The first `Action Input:` and the last `Action:` before it count; the remaining text is the arguments.
    """

    name = "react"
    native = False
    tool_role = "user"
    rule = " Your output should follow this format:\nThought:\nAction\nAction Input:\n"
    example = 'Action: function\nAction Input: {"argument": "value"}'

    def parse(self, text: str) -> Action:
        """See `Format.parse`."""
        at_input = text.find(_INPUT)
        at_action = text.rfind(_ACTION, 0, at_input if at_input >= 0 else len(text))
        if at_action < 0:
            return Action(text, thought=_thought(text), error="the text has no `Action:` followed by `Action Input:`")
        thought = _thought(text[:at_action])
        if at_input < 0:
            name = text[at_action + len(_ACTION) :].strip()
            return Action(text, name=name, thought=thought, error="the text has no `Action Input:`")
        name = text[at_action + len(_ACTION) : at_input].strip()
        return call_action(text, name, text[at_input + len(_INPUT) :].strip(), thought)

    def render(self, name: str, arguments: str | Mapping[str, Any], thought: str = "") -> str:
        """See `Format.render`."""
        opening = f"{_THOUGHT} {thought}\n" if thought else ""
        return f"{opening}{_ACTION} {name}\n{_INPUT} {arguments_text(arguments)}"

    def offer(self, functions: Sequence[FunctionSchema]) -> str:
        """Return ToolBench's sentence, with the functions as Python literals (`process_system_message`)."""
        return f"\nSpecifically, you have access to the following APIs: {[dict(f) for f in functions]}"


def _thought(text: str) -> str:
    return text.strip().removeprefix(_THOUGHT).strip()
