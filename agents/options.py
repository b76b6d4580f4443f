"""KEY=VALUE options on the command line."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from steptool_env.errors import ConfigurationError

Words = Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="K=V [K=V ...]"), tyro.conf.UseAppendAction]
"""Type of a flag that takes KEY=VALUE words, several at once or by repetition."""

_MAPPINGS = {"depths": '{"1": 1, "2": 2}', "reward_options": '{"judge": "rules"}'}
"""Options whose value is a JSON object, with an example each."""


def read_options(flag: str, words: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the options in `words`. A value that parses as JSON (`4`, `true`, `{"a": 1}`) is JSON, else text.

    Args:
        flag: Name of the flag, for errors; empty where the caller's error names it.
        words: The words after each occurrence of the flag.

    Raises:
        ConfigurationError: A word has no `=`, a key occurs twice, or an option needs a JSON object.
    """
    options: dict[str, Any] = {}
    name = f"--{flag.replace('_', '-')} " if flag else ""
    for word in (word for group in words for word in group):
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"{name}{word!r}: write KEY=VALUE")
        if key in options:
            raise ConfigurationError(f"{name}{word!r}: {key} was given before")
        options[key] = _value(value)
        if key in _MAPPINGS and not isinstance(options[key], dict | None):
            raise ConfigurationError(f"{name}{word!r}: {key} must be a JSON object, e.g. '{key}={_MAPPINGS[key]}'")
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


Arguments = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[K=V ...]",
        instance_from_str=lambda words: read_options("", [tuple(words)]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{key}={json.dumps(entry)}" for key, entry in value.items()],
    ),
]
"""Arguments by name. On the command line, a value that parses as JSON is JSON, else text."""
