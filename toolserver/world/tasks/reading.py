"""Reads names, numbers, dates and times out of an answer that a model wrote in its own words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATES = (
    re.compile(r"\b(?P<year>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})\b"),
    re.compile(r"\b(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<year>\d{4})\b"),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH},? (?P<year>\d{{4}})\b", re.IGNORECASE),
    re.compile(rf"\b{_MONTH} (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})\b", re.IGNORECASE),
)
_COMPACT = re.compile(r"\b(?P<year>20\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d)\b")
_TIME = re.compile(r"\b(?P<h>\d{1,2})[:.h](?P<m>\d{2})(?::\d{2})?\s*(?P<half>[ap]\.?m\b\.?)?", re.IGNORECASE)
_HOUR = re.compile(r"\b(?P<h>\d{1,2})\s*(?P<half>[ap]\.?m\b\.?)", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-−]?)(?:[$€£¥]\s?)?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"\s?(?P<unit>(?:[a-zµ°%$€£¥]+(?:[/²³2][a-z]*)?)?)",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")  # without one there is nothing to read
_YEAR = re.compile(r"\d{4}")  # without one there is no date
_GAP = " \x00 "  # stands for what was already read, so that the texts on its two sides do not join


class Quantity(NamedTuple):
    """A number as written, with the word that follows it (lower case, empty at the end of a text)."""

    value: float
    unit: str


class Readings(NamedTuple):
    """Everything that an answer states, apart from names.

    Attributes:
        dates: ISO dates. A date like 04/05/2031 gives both of its readings as one entry.
        times: Times as HH:MM.
        numbers: The other numbers, in order.
    """

    dates: tuple[frozenset[str], ...]
    times: tuple[str, ...]
    numbers: tuple[Quantity, ...]


_NOTHING = Readings((), (), ())


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """`text` in lower case, without accents, its words separated by single blanks."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c))))


def names_in(text: str, names: Collection[str], more: Collection[str] = ()) -> set[str]:
    """Which folded names a text states as whole words; a name inside a longer one does not count.

    They may come in two collections, which saves the caller from joining a large one with a small one for every text.
    """
    words = fold(text).split()
    longest = min(len(words), 12)
    found: set[str] = set()
    start = 0
    while start < len(words):
        for length in range(min(longest, len(words) - start), 0, -1):
            candidate = " ".join(words[start : start + length])
            if candidate in names or candidate in more:
                found.add(candidate)
                start += length - 1
                break
        start += 1
    return found


def longest_first(names: Iterable[str]) -> list[str]:
    """The names in the order in which `without_names` wants them: so that none is cut out of a longer one."""
    return sorted(names, key=lambda name: (-len(name), name))


def without_names(text: str, names: Iterable[str]) -> str:
    """`text` without the given names (longest first) as they are spelled: digits in them are not read as numbers."""
    # Found and cut by hand: a regular expression per name would have to be compiled for every answer.
    lower = text.lower()
    if len(lower) != len(text):  # rare letters change their length; then only exact spellings are cut
        lower = text
    for name in names:
        wanted = name.lower() if lower is not text else name
        start = lower.find(wanted) if wanted else -1
        while start >= 0:
            end = start + len(wanted)
            text, lower = text[:start] + _GAP + text[end:], lower[:start] + _GAP + lower[end:]
            start = lower.find(wanted, start + len(_GAP))
    return text


def read(text: str, compact_dates: bool = False) -> Readings:
    """The dates, times and numbers that a text states; with `compact_dates` also dates like 20310504."""
    if _DIGIT.search(text) is None:
        return _NOTHING
    dates: list[frozenset[str]] = []
    if _YEAR.search(text) is not None:
        for pattern in (*_DATES, _COMPACT) if compact_dates else _DATES:
            text = pattern.sub(lambda match: _take_date(match, dates), text)
    times: list[str] = []
    for pattern in (_TIME, _HOUR):
        text = pattern.sub(lambda match: _take_time(match, times), text)
    return Readings(tuple(dates), tuple(times), tuple(_numbers(text)))


def _take_date(match: re.Match[str], dates: list[frozenset[str]]) -> str:
    readings = frozenset(_readings_of_date(match.groupdict()))
    if not readings:
        return match.group()
    dates.append(readings)
    return _GAP


def _readings_of_date(parts: dict[str, str | None]) -> Iterator[str]:
    year = int(parts["year"] or 0)
    if parts.get("a"):
        first, second = int(parts["a"] or 0), int(parts["b"] or 0)
        pairs = [(first, second), (second, first)]
    else:
        written = parts.get("month")
        month = _MONTHS.index(written.lower()) + 1 if written else int(parts["m"] or 0)
        pairs = [(month, int(parts["d"] or 0))]
    for month, day in pairs:
        try:
            yield date(year, month, day).isoformat()
        except ValueError:
            continue


def _take_time(match: re.Match[str], times: list[str]) -> str:
    parts = match.groupdict()
    hour, minute, half = int(parts["h"]), int(parts.get("m") or 0), (parts["half"] or "").lower()
    separator = match.group()[len(parts["h"])] if parts.get("m") else ""
    if minute > 59 or hour > 23 or (separator == "." and not half) or (half and not 1 <= hour <= 12):
        return match.group()
    if half:
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    times.append(f"{hour:02d}:{minute:02d}")
    return _GAP


def _numbers(text: str) -> Iterator[Quantity]:
    for match in _NUMBER.finditer(text):
        value = float(match["digits"].replace(",", ""))
        yield Quantity(-value if match["sign"] else value, match["unit"].lower())
