"""Format of OpenAI's chat API: an assistant message as JSON text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from steptool_env.formats.base import FunctionSchema, arguments_text, call_action, read_object
from steptool_env.types import Action


class OpenAIFormat:
    """One function call as an OpenAI-compatible server returns it.

    `parse` accepts an assistant message with one entry in `tool_calls`, the older `function_call`, and a bare
    `{"name", "arguments"}`; `arguments` may be text or an object. `render` writes a message with `content` (the
    thought) and `tool_calls`. Several calls in one message are an error: one call is one step.
    """

    name = "openai"
    native = True
    tool_role = "tool"
    rule = ""
    example = '{"name": "function", "arguments": {"argument": "value"}}'

    def parse(self, text: str) -> Action:
        """See `Format.parse`."""
        message = read_object(text)
        if message is None:
            return Action(text, error="the text is not a JSON object")
        content = message.get("content")
        thought = content if isinstance(content, str) else ""
        found = _function(message)
        if isinstance(found, str):
            return Action(text, thought=thought, error=found)
        return call_action(text, found.get("name"), found.get("arguments", ""), thought)

    def render(self, name: str, arguments: str | Mapping[str, Any], thought: str = "") -> str:
        """See `Format.render`."""
        call = {"type": "function", "function": {"name": name, "arguments": arguments_text(arguments)}}
        return json.dumps({"content": thought or None, "tool_calls": [call]}, ensure_ascii=False)

    def offer(self, functions: Sequence[FunctionSchema]) -> str:
        """Return the functions as `tools` of a chat request, and the form of the reply."""
        tools = [{"type": "function", "function": dict(function)} for function in functions]
        return (
            f"\nSpecifically, you have access to the following tools: {json.dumps(tools, ensure_ascii=False)}\n"
            f"Reply with one JSON object and nothing else: {self.example}"
        )


def _function(message: dict[str, Any]) -> dict[str, Any] | str:
    """Return the function object inside a message, or the error as text."""
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        if len(calls) > 1:
            return f"the message holds {len(calls)} calls; one call is one step"
        found = calls[0].get("function") if isinstance(calls[0], dict) else None
    else:
        found = message.get("function_call") or message.get("function") or message
    return found if isinstance(found, dict) else "the message holds no function call"
