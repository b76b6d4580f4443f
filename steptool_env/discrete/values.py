"""Values in the texts of an episode: constants of the query, and fields of responses."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from steptool_env.discrete.words import Lexicon, WordSet, field_words, split_words, words_of
from steptool_env.episodes.observations import answer_in

_ID = re.compile(r"\b[A-Z]{1,3}\d{2,}\b")
_DATE = re.compile(r"\b(\d{4}-\d\d-\d\d|\d{1,2} [A-Z][a-z]+ \d{4})\b")
_TIME = re.compile(r"\b\d{1,2}:\d\d\b")
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-])")
_NAME = re.compile(r"[A-Z][\w'.’-]*(?: (?:(?:of|the|and|de|&) )*[A-Z][\w'.’-]*)*(?: \([^)]*\))?")
_SENTENCE = re.compile(r"(?<!\bDr)[.?!] (?=[A-Z])")
_TAIL = re.compile(r" ([a-z]+)")
_STATED = re.compile(r"\bis (?:at (?:least|most) )?([a-z][a-z -]*?)(?= and |[,?.]|$)")
_JOINTS = frozenset(
    split_words("and arriving at between by for from has in is of on per starting the to until whose with")
)
_NEAR = 3  # words before a constant that describe it


class Form(IntEnum):
    """Form of a value."""

    ID = 0
    TEXT = 1
    NUMBER = 2
    DATE = 3
    TIME = 4


@dataclass(frozen=True, slots=True)
class ObservedValue:
    """One value in a text of the episode.

    Attributes:
        value: Value as an argument: text or number.
        form: Form of the value.
        about: Words that describe it.
        field: Name of its field; empty for a constant of the query.
        step: Index of the step that returned it, 0-based; -1 for the query.
    """

    value: Any
    form: Form
    about: WordSet
    field: str = ""
    step: int = -1

    @property
    def is_id(self) -> bool:
        """True for an id used by other calls. Codes for people (`flight`: VO693) are not ids."""
        return self.form is Form.ID and (not self.field or split_words(self.field)[-1] == "id")


def query_values(query: str) -> list[ObservedValue]:
    """Return the distinct constants of a query, in the order of their forms."""
    found: dict[tuple[Any, Form], ObservedValue] = {}
    taken: list[tuple[int, int]] = []
    for form, pattern in ((Form.DATE, _DATE), (Form.TIME, _TIME), (Form.ID, _ID), (Form.NUMBER, _NUMBER)):
        for match in pattern.finditer(query):
            if any(start < match.end() and match.start() < end for start, end in taken):
                continue
            taken.append(match.span())
            value = _READ[form](match[0]) if form in _READ else match[0]
            about = _before(query, match.start()) | words_of(" ".join(query[match.end() :].split()[:1]))
            found.setdefault((value, form), ObservedValue(value, form, about))
    for start, text in _texts(query):
        overlaps = any(low <= start and start + len(text) <= high for low, high in taken)
        if text and not overlaps:
            found.setdefault((text, Form.TEXT), ObservedValue(text, Form.TEXT, _before(query, start) | words_of(text)))
    return list(found.values())


def answer_rows(observation: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of a response, each a flat record, and the fields beside them (totals, pages).

    An error, a cut response and a response without records have no rows.
    """
    try:
        body = json.loads(answer_in(observation))
    except ValueError:
        return [], {}
    if not isinstance(body, dict) or body.get("error"):
        return [], {}
    return _rows(body.get("response"))


def row_values(row: dict[str, Any], about: WordSet, step: int, lexicon: Lexicon) -> list[ObservedValue]:
    """Return the values of a row. A field without descriptive name (`id`) gets the words of the call."""
    return [
        ObservedValue(value, form_of(value), field_words(field, lexicon) or about, field, step)
        for field, value in row.items()
    ]


def form_of(value: Any) -> Form:
    """Return the form of a value in a response."""
    if not isinstance(value, str):
        return Form.NUMBER
    for form, pattern in ((Form.ID, _ID), (Form.DATE, _DATE), (Form.TIME, _TIME)):
        if pattern.fullmatch(value):
            return form
    return Form.TEXT


def _rows(value: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if isinstance(value, list):
        return [dict(_leaves(each)) for each in value if isinstance(each, dict)], {}
    if not isinstance(value, dict):
        return [], {}
    for each in value.values():
        if isinstance(each, list):
            beside = {name: other for name, other in value.items() if not isinstance(other, dict | list)}
            return _rows(each)[0], beside
    row = dict(_leaves(value))
    return ([row] if row else []), {}


def _leaves(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _leaves(each)
        elif isinstance(each, str | int | float):
            yield name, each


def _texts(query: str) -> Iterator[tuple[int, str]]:
    """Yield names and stated words with their positions, except the first word of a sentence."""
    start = 0
    for sentence in _SENTENCE.split(query):
        for place, text in _names(sentence):
            yield start + place, text
        start += len(sentence) + 2
    for match in _STATED.finditer(query):
        yield match.start(1), match[1]


def _names(sentence: str) -> Iterator[tuple[int, str]]:
    for match in _NAME.finditer(sentence):
        start, text = match.start(), match[0].rstrip(".").removesuffix("'s")
        if start == 0:
            first, _, text = text.partition(" ")
            start = len(first) + 1
        yield start, text
        if " and " in text:
            first, _, second = text.partition(" and ")
            yield start, first
            yield start + len(text) - len(second), second
        tail = _TAIL.match(sentence, match.end())
        if tail and tail[1] not in _JOINTS and text:
            yield start, f"{text} {tail[1]}"


def _before(query: str, start: int) -> WordSet:
    return words_of(" ".join(query[:start].split()[-_NEAR:]))


def _iso(text: str) -> str:
    try:
        return text if text[4] == "-" else f"{datetime.strptime(text, '%d %B %Y'):%Y-%m-%d}"
    except ValueError:
        return text


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


_READ = {Form.DATE: _iso, Form.NUMBER: _number}
