"""Flags of commands: KEY=VALUE options, and help that shows a part of the flags."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, NamedTuple, get_type_hints

import tyro

from steptool_env.episodes.config import KEY_OPTION
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


def env_args_words(arguments: Mapping[str, Any]) -> list[str]:
    """Return the flag `--env-args` with arguments of an environment as words of a command line; empty without any."""
    texts = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in arguments.items()]
    return ["--env-args", *texts] if texts else []


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


class Flags(NamedTuple):
    """Flags of a command: their dataclass, the words of the command line, and an instance that they override."""

    kind: Any
    words: Sequence[str]
    default: Any = None


def shown_only(kind: type, names: Collection[str], prefix: str = "") -> Any:
    """Return a dataclass like `kind` that lists only some of its flags, for `--help`.

    Args:
        kind: Dataclass of settings.
        names: Names of the listed settings, such as `seed` and `optim.lr`.
        prefix: Prefix of the names of this dataclass.
    """
    hints, members = get_type_hints(kind, include_extras=True), dict[str, Any]()
    for each in fields(kind):
        name, hint = f"{prefix}{each.name}", hints[each.name]
        if is_dataclass(each.type) and any(shown.startswith(f"{name}.") for shown in names):
            hints[each.name] = shown_only(hint, names, f"{name}.")
        elif name not in names:
            hints[each.name] = tyro.conf.Suppress[hint]  # type: ignore[valid-type, misc]
        if each.default_factory is not MISSING:  # a default value is an attribute of `kind`
            members[each.name] = field(default_factory=each.default_factory)
    members |= {"__annotations__": hints, "__doc__": kind.__doc__, "__module__": kind.__module__}
    return dataclass(frozen=True)(type(kind.__name__, (kind,), members))


def as_shown(kind: type, settings: Any) -> Any:
    """Return settings as an instance of a dataclass of `shown_only`."""
    hints = get_type_hints(kind)
    values = {each.name: getattr(settings, each.name) for each in fields(kind)}
    return kind(**{n: as_shown(hints[n], v) if is_dataclass(v) else v for n, v in values.items()})


def without_keys(value: Any) -> Any:
    """Return a JSON value without API keys: as entries of objects, and in texts such as `api_key=KEY` of a command."""
    if isinstance(value, dict):
        return {name: without_keys(each) for name, each in value.items() if name != KEY_OPTION}
    if isinstance(value, list):
        return [without_keys(each) for each in value]
    return _KEY.sub(r"\1***", value) if isinstance(value, str) else value


_KEY = re.compile(rf"""({KEY_OPTION}["']?\s*[=:]\s*["']?)[^\s"',}}\]]+""")
