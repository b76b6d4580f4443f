"""Format of Llama 3: JSON calls."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from steptool_env.formats.base import FunctionSchema, arguments_text, call_action, read_object
from steptool_env.types import Action

_TAG = "<|python_tag|>"


class LlamaFormat:
    """`{"name": ..., "parameters": {...}}`, as the Llama 3 models were trained to write it.

    The object starts at the first line that starts with `{` (or after `<|python_tag|>`) and extends to the end; the
    lines before it are the thought.
    """

    name = "llama3"
    native = True
    tool_role = "ipython"
    rule = ""
    example = '{"name": "function", "parameters": {"argument": "value"}}'

    def parse(self, text: str) -> Action:
        """See `Format.parse`."""
        clean = text.replace(_TAG, "\n").strip()
        start = 0 if clean.startswith("{") else clean.find("\n{") + 1
        if not clean.startswith("{", start):
            return Action(text, thought=clean, error="no line of the text starts with `{`")
        thought = clean[:start].strip()
        call = read_object(clean[start:])
        if call is None:
            return Action(text, thought=thought, error="the text is not a JSON object")
        arguments = call["parameters"] if "parameters" in call else call.get("arguments", "")
        return call_action(text, call.get("name"), arguments, thought)

    def render(self, name: str, arguments: str | Mapping[str, Any], thought: str = "") -> str:
        """See `Format.render`."""
        opening = f"{thought}\n" if thought else ""
        parameters = arguments_text(arguments) or "{}"
        return f'{opening}{{"name": {json.dumps(name, ensure_ascii=False)}, "parameters": {parameters}}}'

    def offer(self, functions: Sequence[FunctionSchema]) -> str:
        """Return the tools part of Llama 3.1's chat template."""
        tools = "\n\n".join(
            json.dumps({"type": "function", "function": dict(function)}, ensure_ascii=False, indent=4)
            for function in functions
        )
        return (
            "\n\nGiven the following functions, please respond with a JSON for a function call with its proper "
            "arguments that best answers the given prompt.\n\n"
            'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. '
            f"Do not use variables.\n\n{tools}"
        )
