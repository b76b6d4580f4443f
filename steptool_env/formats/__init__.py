"""The formats in which a model writes its calls, by name."""

from steptool_env.errors import ConfigurationError
from steptool_env.formats.base import Format, FunctionSchema
from steptool_env.formats.hermes import HermesFormat
from steptool_env.formats.llama import LlamaFormat
from steptool_env.formats.openai import OpenAIFormat
from steptool_env.formats.react import ReactFormat

__all__ = [
    "FORMATS",
    "Format",
    "FunctionSchema",
    "HermesFormat",
    "LlamaFormat",
    "OpenAIFormat",
    "ReactFormat",
    "make_format",
]

FORMATS: dict[str, Format] = {
    entry.name: entry for entry in (ReactFormat(), OpenAIFormat(), HermesFormat(), LlamaFormat())
}
"""Formats keep no state, so one of each serves every environment."""


def make_format(name: str) -> Format:
    """The format of that name.

    Raises:
        ConfigurationError: There is no such format; the message lists those there are.
    """
    try:
        return FORMATS[name]
    except (KeyError, TypeError):
        raise ConfigurationError(f"format={name!r}: no such format; there are {', '.join(FORMATS)}") from None
