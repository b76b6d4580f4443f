"""Messages for a model that simulates an API, and the parser of its answer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from toolserver.calls.json_parsing import parse
from toolserver.calls.naming import standardize
from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.resolvers.prompts import MIRRORAPI_SYSTEM, SIMULATOR_SYSTEM

Message = dict[str, str]

_EXAMPLE_LENGTH = 2048  # characters of examples in a prompt
MAX_EXAMPLES = 5

_FENCE = "```"
_ERROR = re.compile(r'"error"\s*:\s*"')
_RESPONSE = re.compile(r'"\s*,\s*"response"\s*:\s*"')


class Example(NamedTuple):
    """Recorded call of the API that a model simulates."""

    arguments: Mapping[str, Any]
    answer: Mapping[str, Any]


def simulator_messages(spec: ApiSpec, arguments: Mapping[str, Any], examples: Sequence[Example]) -> list[Message]:
    """Return the messages of StableToolBench's GPT simulator: documentation, recorded examples, input."""
    document = {
        "tool_description": spec.tool_description,
        "api_info": [{"name": spec.name, "description": spec.description}],
    }
    shown = _fitting([(str(dict(example.arguments)), dict(example.answer)) for example in examples])
    user = f"API Documentation:{document}\nAPI Examples:{str(shown)[:_EXAMPLE_LENGTH]}\nAPI Input:{dict(arguments)}\n"
    return [{"role": "system", "content": SIMULATOR_SYSTEM}, {"role": "user", "content": user}]


def mirrorapi_messages(spec: ApiSpec, arguments: Mapping[str, Any]) -> list[Message]:
    """Return the messages in the format that MirrorAPI models were trained on."""
    document = {
        "api_name": standardize(spec.name),
        "api_description": spec.description,
        "required_parameters": _parameters(spec.required),
        "optional_parameters": _parameters(spec.optional),
        "tool_description": spec.tool_description,
        "tool_name": spec.tool,
        "tool_category": spec.category,
    }
    request = {name: value for name, value in arguments.items() if name != "toolbench_key"}
    user = f"API doc:\n{document}\n\nRequest:\n{request}"
    return [{"role": "system", "content": MIRRORAPI_SYSTEM}, {"role": "user", "content": user}]


def read_answer(text: str) -> tuple[str, Any] | None:
    """Return error and response of a model's answer, or `None` if it has a different form.

    Accepts a fenced block, and the unescaped quotes inside `response` that the MirrorAPI prompt itself shows.
    """
    text = text.strip()
    if text.startswith(_FENCE):
        text = text.removeprefix(_FENCE).removeprefix("json")
    text = text.removesuffix(_FENCE).strip()
    try:
        answer = parse(text)
    except ValueError:
        loose = _read_loosely(text)
        return loose if loose and any(loose) else None
    if not isinstance(answer, dict) or not {"error", "response"} <= answer.keys():
        return None
    error, response = answer["error"], answer["response"]
    # A model without an answer writes an empty one, which must not be recorded.
    return (str(error or ""), response) if error or response not in ("", None) else None


def _read_loosely(text: str) -> tuple[str, str] | None:
    """Return error and response of an answer with unescaped quotes, in a time that grows as the length of `text`.

    One expression for all of it takes minutes for a model that repeats an answer until its tokens are used up.
    """
    texts = text.removesuffix("}").rstrip()
    if not (text.endswith("}") and texts.endswith('"')):
        return None
    first = _ERROR.search(texts)
    second = _RESPONSE.search(texts, first.end(), len(texts) - 1) if first else None
    return (texts[first.end() : second.start()], texts[second.end() : -1]) if first and second else None


def _fitting(examples: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the first examples that fit the prompt, at least one."""
    count = min(len(examples), MAX_EXAMPLES)
    while count > 1 and len(str(examples[:count])) > _EXAMPLE_LENGTH:
        count -= 1
    return examples[:count]


def _parameters(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    return [asdict(parameter) for parameter in parameters]
