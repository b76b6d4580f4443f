"""Format of Hermes and Qwen: `<tool_call>` tags."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from steptool_env.formats.base import FunctionSchema, arguments_text, call_action
from steptool_env.types import Action
from toolserver.calls.json_parsing import check_nesting

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_THINK, _THOUGHT = "<think>", "</think>"
_DECODER = json.JSONDecoder(strict=False)


class HermesFormat:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, with the thought before it.

    The closing tag may be missing (it is a common stop string). Text after it is ignored, unless it opens a second
    call, which is an error: one call is one step. Reasoning in `<think>` at the start is part of the thought, whatever
    tags it quotes.
    """

    name = "hermes"
    native = True
    tool_role = "tool"
    rule = ""
    example = '<tool_call>{"name": "function", "arguments": {"argument": "value"}}</tool_call>'

    def parse(self, text: str) -> Action:
        """See `Format.parse`."""
        start = max(text.find(_THOUGHT), 0) if text.lstrip().startswith(_THINK) else 0
        before, tag, inside = text[start:].partition(_OPEN)
        thought = f"{text[:start]}{before}".strip()
        if not tag:
            return Action(text, thought=thought, error="the text has no `<tool_call>`")
        inside = inside.lstrip()
        try:
            check_nesting(inside)
            call, end = _DECODER.raw_decode(inside)
        except ValueError:
            return Action(text, thought=thought, error="the text in `<tool_call>` is not JSON")
        if not isinstance(call, dict):
            return Action(text, thought=thought, error="the text in `<tool_call>` is not a JSON object")
        error = _rest_error(inside[end:].lstrip())
        if error:
            return Action(text, thought=thought, error=error)
        return call_action(text, call.get("name"), call.get("arguments", ""), thought)

    def render(self, name: str, arguments: str | Mapping[str, Any], thought: str = "") -> str:
        """See `Format.render`."""
        opening = f"{thought}\n" if thought else ""
        head = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments_text(arguments) or "{}"}}}'
        return f"{opening}{_OPEN}\n{head}\n{_CLOSE}"

    def offer(self, functions: Sequence[FunctionSchema]) -> str:
        """Return the tools part of Qwen's chat template."""
        tools = "\n".join(
            json.dumps({"type": "function", "function": dict(function)}, ensure_ascii=False) for function in functions
        )
        return (
            "\n\n# Tools\n\nYou may call one function at a time to assist with the user query.\n\n"
            "You are provided with function signatures within <tools></tools> XML tags:\n"
            f"<tools>\n{tools}\n</tools>\n\n"
            "For each function call, return a json object with function name and arguments within "
            f"{_OPEN}{_CLOSE} XML tags:\n"
            f'{_OPEN}\n{{"name": <function-name>, "arguments": <args-json-object>}}\n{_CLOSE}'
        )


def _rest_error(rest: str) -> str:
    if rest and not rest.startswith(_CLOSE):
        return "the text in `<tool_call>` goes on after the JSON object"
    if _OPEN in rest:
        return "the text holds several calls; one call is one step"
    return ""
