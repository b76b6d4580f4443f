"""Command-line options written as `KEY=VALUE`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from steptool_env.errors import ConfigurationError

Words = Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="K=V [K=V ...]"), tyro.conf.UseAppendAction]
"""Type of a flag that takes such words, several at once or by repeating the flag."""


def read_options(flag: str, words: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Parse `words`. A value is JSON where it parses as JSON (`4`, `true`, `{"judge": "rules"}`), else text.

    Raises:
        ConfigurationError: A word has no `=`, or a key comes twice.
    """
    options: dict[str, Any] = {}
    for word in (word for group in words for word in group):
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"--{flag.replace('_', '-')} {word!r}: write KEY=VALUE")
        if key in options:
            raise ConfigurationError(f"--{flag.replace('_', '-')} {word!r}: {key} was given before")
        options[key] = _value(value)
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
