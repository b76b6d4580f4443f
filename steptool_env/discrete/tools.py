"""Parsed documentation of the offered functions."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from steptool_env.discrete.values import Form
from steptool_env.discrete.words import Lexicon, WordSet, field_words, split_words, words_of
from steptool_env.types import FINISH

_PAGE = re.compile(r"(p|pg|page.*)")
_QUOTED = re.compile(r'function is: "(.*)"', re.DOTALL)
_ID_WORDS = frozenset({"id", "ids", "code", "ref", "key", "reference"})
_DAY_WORDS = frozenset({"date", "day"})
_ENUM = re.compile(r"[\w-]+(?: [\w-]+)*(?:, [\w-]+(?: [\w-]+)*)+")


class Intent(IntEnum):
    """Kind of operation, derived from the words of a documentation or a query."""

    SEARCH = 0
    DETAILS = 1
    LIST = 2
    RANK = 3
    COMPARE = 4
    AGGREGATE = 5
    CREATE = 6
    CANCEL = 7
    UPDATE = 8
    LOGIN = 9


_TELLING: Mapping[Intent, WordSet] = {
    Intent.LOGIN: words_of("authenticate login sign token session"),
    Intent.CANCEL: words_of("cancel delete drop stop unsubscribe end return"),
    Intent.UPDATE: words_of("change extend move redirect renew reschedule update set switch"),
    Intent.CREATE: words_of("book borrow buy create enrol make order place register rent reserve schedule send ship "
                            "subscribe reservation apply"),
    Intent.COMPARE: words_of("compare comparison difference higher whichever"),
    Intent.AGGREGATE: words_of("average mean statistic count"),
    Intent.RANK: words_of("best highest lowest rank sort top"),
    Intent.LIST: words_of("browse every filter list"),
    Intent.DETAILS: words_of("detail fact full info know"),
    Intent.SEARCH: words_of("search name lookup"),
}  # fmt: skip


def intents_of(words: WordSet) -> frozenset[Intent]:
    """Return the intents whose words are among `words`."""
    return frozenset(intent for intent, telling in _TELLING.items() if telling & words)


@dataclass(frozen=True)
class ToolParameter:
    """One parameter: name, words of its documentation and accepted forms of values.

    `choices` are the values listed in the documentation, if any.
    """

    name: str
    words: WordSet
    required: bool
    forms: frozenset[Form]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """One offered function."""

    name: str
    words: WordSet
    parameters: tuple[ToolParameter, ...]
    page: str = ""

    @cached_property
    def intents(self) -> frozenset[Intent]:
        """Intents of the documentation."""
        return intents_of(self.words)


def read_tools(functions: Iterable[Mapping[str, Any]], lexicon: Lexicon) -> list[Tool]:
    """Return the functions of `info["functions"]` in order, without `Finish`."""
    return [_tool(each, lexicon) for each in functions if each["name"] != FINISH]


def _tool(function: Mapping[str, Any], lexicon: Lexicon) -> Tool:
    text = function.get("description", "")
    quoted = _QUOTED.search(text)
    api = function["name"].rpartition("_for_")[0] or function["name"]
    schema = function["parameters"]
    required = frozenset(schema.get("required", ()))
    properties = schema.get("properties", {})
    page = next((name for name in properties if name not in required and _PAGE.fullmatch(name)), "")
    parameters = tuple(
        _parameter(name, described, name in required, lexicon) for name, described in properties.items() if name != page
    )
    return Tool(function["name"], words_of(api) | words_of(quoted[1] if quoted else text), parameters, page)


def _parameter(name: str, described: Mapping[str, Any], required: bool, lexicon: Lexicon) -> ToolParameter:
    text = str(described.get("description", ""))
    words = field_words(name, lexicon)
    choices = tuple(text.split(", ")) if _ENUM.fullmatch(text) else ()
    forms = frozenset({Form.TEXT}) if choices else _forms(name, str(described.get("type", "string")), text)
    return ToolParameter(name, words | words_of(text), required, forms, choices)


def _forms(name: str, kind: str, text: str) -> frozenset[Form]:
    if kind.lower() in ("number", "integer", "int", "float"):
        return frozenset({Form.NUMBER})
    if "YYYY" in text or _DAY_WORDS & {*split_words(name)}:
        return frozenset({Form.DATE})
    if "HH:MM" in text:
        return frozenset({Form.TIME})
    if _ID_WORDS & {*split_words(name), *split_words(text)}:
        return frozenset({Form.ID})
    return frozenset({Form.TEXT, Form.ID})
