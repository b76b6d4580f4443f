"""Parser of dates, times and numbers in free text."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import lru_cache, partial
from operator import attrgetter
from typing import NamedTuple

from steptool_env.toolworld.answers.number_words import SPELLED
from steptool_env.toolworld.answers.quantities import Quantity, number_alone, quantities

_MONTH_NAMES = (
    "january jan januar janvier enero gennaio janeiro januari",
    "february feb februar février fevrier febrero febbraio fevereiro februari",
    "march mar märz maerz mars marzo março marco maart",
    "april apr avril abril aprile",
    "may mai mayo maggio maio mei",
    "june jun juni juin junio giugno junho",
    "july jul juli juillet julio luglio julho",
    "august aug août aout agosto augustus",
    "september sep sept septembre septiembre settembre setembro",
    "october oct oktober octobre octubre ottobre outubro",
    "november nov novembre noviembre novembro",
    "december dec dezember décembre decembre diciembre dicembre dezembro desember",
)  # English, German, French, Spanish, Italian, Portuguese, Dutch
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<d>\d{1,2})(?:st|nd|rd|th|er|º|°)?"
_UNTIL = r"(?:\s?(?:-|–|to|and|or)\s?(?P<e>\d{1,2})(?:st|nd|rd|th)?(?![\d:.]))?"
_OF = r"\.?(?: day)?(?: of| de| di)?"
_FIGURES = re.compile(r"\d[-/.]\d{1,2}[-/.]\d")
_IN_FIGURES = (
    re.compile(r"(?<!\d)(?P<year>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?!\d)"),
    re.compile(r"(?<!\d)(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<year>\d{4})(?!\d)"),
)
_WITH_MONTH = (
    re.compile(rf"\b{_DAY}{_UNTIL}{_OF}[ -]{_MONTH}(?:, ?| of | de | del | di | |-)(?P<year>\d{{4}})\b", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}[ -](?:the )?{_DAY}{_UNTIL}(?:, ?| of | |-)(?P<year>\d{{4}})\b", re.IGNORECASE),
    re.compile(rf"\b(?P<year>\d{{4}}),?[ -]{_MONTH}[ -]{_DAY}\b", re.IGNORECASE),
)
_COMPACT = re.compile(r"\b(?P<year>20\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d)\b")
_YEARLESS = (
    re.compile(rf"\b{_DAY}{_UNTIL}{_OF}[ -]{_MONTH}(?! ?\d)", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}[ -](?:the )?{_DAY}{_UNTIL}\b(?![.,]?\d| ?%)", re.IGNORECASE),
)
_HALF = r"[ap]\.?m\b\.?|in the (?:morning|afternoon|evening)\b|at night\b"
_TIME = re.compile(
    rf"(?:\b|(?<=\x00T))(?P<h>\d{{1,2}})(?:[:.h]|\sh\s?)(?P<m>\d{{2}})(?!\d)(?::\d{{2}})?\s*(?P<half>{_HALF})?",
    re.IGNORECASE,
)
_HOUR = re.compile(rf"\b(?P<h>\d{{1,2}})(?:\s*o['’]clock)?\s*(?P<half>{_HALF})", re.IGNORECASE)
_NAMED_TIME = re.compile(r"\b(?:12(?::00)?\s+)?(?P<named>noon|midday|midnight)\b", re.IGNORECASE)
_DENIED = re.compile(r"(?:\bnot|n['’]t|\brather than|\binstead of)\s+(?:(?:on|in|at|for|the|by) ){0,2}$", re.IGNORECASE)
_NAMED_TIMES = frozenset({"noon", "midday", "midnight"})
_DIGIT = re.compile(r"\d")
_LETTERS = re.compile(r"[^\W\d_]+")
_ONE_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SCIENTIFIC = re.compile(r"\s*(?:[x×·*]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*[{(]?([+-−]?\d{1,2})[)}]?", re.IGNORECASE)
_RAISED = re.compile(r"\s*(?:[x×·*]|\\times|\\cdot)\s*10([⁺⁻]?[⁰¹²³⁴-⁹]{1,2})", re.IGNORECASE)
_LATEX = re.compile(r"\\(?:textbf|text|mathrm|mathbf|boxed|left|right|quad|times|,|;|!|:|\s|\(|\)|\[|\])")
_MATHS = re.compile(r"\$\$((?:[^$\\]|\\.){1,400})\$\$|(?<![A-Za-z$\\])\$((?:[^$\\\n]|\\.){1,60})\$(?![\d$])", re.DOTALL)
_BRACES = str.maketrans({"{": " ", "}": " ", "\\": None})
_MARKUP = re.compile(r"</?[a-zA-Z]+>|&nbsp;")
_MARKS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")
_HYPHENS = str.maketrans({"\u2010": "-", "\u2011": "-"})  # chat models often write the one that does not break


class Stated(NamedTuple):
    """A date (all its readings in ISO form) or a time (`HH:MM`), with its position in the text."""

    values: frozenset[str]
    start: int
    end: int


class Readings(NamedTuple):
    """Dates, times and numbers of a text.

    Attributes:
        dates: Dates. 04/05/2031 has two readings.
        times: Times of day.
        numbers: Other numbers, in order.
    """

    dates: tuple[Stated, ...]
    times: tuple[Stated, ...]
    numbers: tuple[Quantity, ...]


_NOTHING = Readings((), (), ())
_START = attrgetter("start")


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """Return `text` in lower case, without accents and punctuation, words separated by single blanks."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c))))


def tidy(text: str) -> str:
    """Return `text` without Markdown, HTML and LaTeX, with powers of ten as exponents."""
    if not text.isascii():
        text = text.translate(_HYPHENS)
        text = _RAISED.sub(lambda match: "e" + unicodedata.normalize("NFKC", match[1]).replace("−", "-"), text)
        text = unicodedata.normalize("NFC", text)
    if "10" in text:
        text = _SCIENTIFIC.sub(r"e\1", text)
    if "{,}" in text:
        text = text.replace("{,}", ",")
    if text.count("$") > 1:
        text = _MATHS.sub(r"\1\2", text)
    if "\\" in text:
        text = re.sub(" +", " ", _LATEX.sub(" ", text).translate(_BRACES))
    if "<" in text or "&" in text:
        text = _MARKUP.sub(" ", text)
    text = text.replace("U.S.", "US").replace("Dr.", "Dr").replace("vs.", "vs")  # their points end no sentence
    if "*" in text or "_" in text or "`" in text:
        text = _MARKS.sub("", text)
    return text


def read(
    text: str,
    *,
    compact_dates: bool = False,
    clock: bool = False,
    durations: bool = False,
    year: int | None = None,
    numbers: bool = True,
) -> Readings:
    """Parse the dates, times and numbers of a text.

    Args:
        text: Text without names.
        compact_dates: Read 20310504 as a date.
        clock: Read `20.30` and `noon` as times of day.
        durations: Read `2:15 h` as a duration instead of a time of day.
        year: Year of dates without one; `None` skips such dates.
        numbers: Parse numbers, too.
    """
    if not compact_dates and not clock and _ONE_NUMBER.fullmatch(text):  # most answers, and far faster
        return Readings((), (), (number_alone(text),) if numbers else ())
    words = frozenset(_LETTERS.findall(text.lower()))
    times: list[Stated] = []
    if clock and not words.isdisjoint(_NAMED_TIMES):
        text = _NAMED_TIME.sub(lambda match: _take_named_time(match, times), text)
    if _DIGIT.search(text) is None and not times and words.isdisjoint(SPELLED):
        return _NOTHING
    dates: list[Stated] = []
    for pattern, missing in _date_patterns(text, words, compact_dates):
        text = pattern.sub(partial(_take_date, dates=dates, year=(year or 0) if missing else None), text)
    found = quantities(text, words, durations=True) if durations and numbers else None
    for pattern in (_TIME, _HOUR):
        text = pattern.sub(lambda match: _take_time(match, times, clock), text)
    if found is None:
        found = quantities(text, words) if numbers else ()
    return Readings(tuple(sorted(dates, key=_START)), tuple(sorted(times, key=_START)), found)


def _date_patterns(text: str, words: frozenset[str], compact: bool) -> Iterator[tuple[re.Pattern[str], bool]]:
    """Yield the date patterns that can match a text, each with a flag for dates without a year."""
    if _FIGURES.search(text) is not None:
        yield from ((pattern, False) for pattern in _IN_FIGURES)
    if not words.isdisjoint(_MONTHS):
        yield from ((pattern, False) for pattern in _WITH_MONTH)
        yield from ((pattern, True) for pattern in _YEARLESS)
    if compact:
        yield _COMPACT, False


def _take_date(match: re.Match[str], dates: list[Stated], year: int | None) -> str:
    readings = frozenset(_readings_of_date(match.groupdict(), year))
    if not readings:
        return match.group()
    if year != 0 and not _is_denied(match):
        dates.append(Stated(readings, match.start(), match.end()))
        if (until := match.groupdict().get("e")) is not None:  # "20-25 May" are two
            last = frozenset(_readings_of_date({**match.groupdict(), "d": until}, year))
            dates.append(Stated(last, match.end(), match.end()))
    return "\x00" * len(match.group())


def _readings_of_date(parts: dict[str, str | None], year: int | None) -> Iterator[str]:
    if year is None:
        year = int(parts["year"] or 0)
    if parts.get("a"):
        first, second = int(parts["a"] or 0), int(parts["b"] or 0)
        pairs = [(first, second), (second, first)]
    else:
        written = parts.get("month")
        month = _MONTHS[written.lower()] if written else int(parts["m"] or 0)
        pairs = [(month, int(parts["d"] or 0))]
    for month, day in pairs:
        try:
            yield date(year or 2000, month, day).isoformat()
        except ValueError:
            continue


def _take_time(match: re.Match[str], times: list[Stated], clock: bool) -> str:
    parts = match.groupdict()
    hour, minute, half = int(parts["h"]), int(parts.get("m") or 0), (parts["half"] or "").lower()
    separator = match.group()[len(parts["h"])] if parts.get("m") else ""
    if minute > 59 or hour > 23 or (separator == "." and not half and not clock):
        return match.group()
    if half and hour <= 12:
        if hour == 0 and len(half) < 5:
            return match.group()
        late = half.startswith("p") or half.endswith(("afternoon", "evening")) or (half == "at night" and hour > 5)
        hour = hour % 12 + (12 if late else 0)
    elif half and len(half) < 5:
        return match.group()
    if not _is_denied(match):
        times.append(Stated(frozenset({f"{hour:02d}:{minute:02d}"}), match.start(), match.end()))
    return "\x00" * len(match.group())


def _is_denied(match: re.Match[str]) -> bool:
    return _DENIED.search(match.string, max(0, match.start() - 24), match.start()) is not None


def _take_named_time(match: re.Match[str], times: list[Stated]) -> str:
    time = "00:00" if match["named"].lower() == "midnight" else "12:00"
    times.append(Stated(frozenset({time}), match.start(), match.end()))
    return "\x00" * len(match.group())
