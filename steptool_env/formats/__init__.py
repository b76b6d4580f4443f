"""Call formats: how a model writes a tool call as text."""

from functools import cache

from steptool_env.errors import ConfigurationError
from steptool_env.formats.base import Format, FunctionSchema
from steptool_env.registry import Registry

__all__ = ["FORMATS", "Format", "FunctionSchema", "make_format"]

FORMATS: Registry[Format] = Registry(
    "format",
    {
        "react": "steptool_env.formats.react:ReactFormat",
        "openai": "steptool_env.formats.openai:OpenAIFormat",
        "hermes": "steptool_env.formats.hermes:HermesFormat",
        "llama3": "steptool_env.formats.llama:LlamaFormat",
    },
)


@cache
def make_format(name: str) -> Format:
    """Return the format of that name or of `module:factory`. Formats are stateless, so one instance serves all callers.

    Raises:
        ConfigurationError: The format is unknown, or its attribute `name` differs from `name`.
    """
    made = FORMATS.make(name)
    if made.name != name:
        raise ConfigurationError(f"format={name!r}: its attribute `name` must be {name!r}, not {made.name!r}")
    return made
