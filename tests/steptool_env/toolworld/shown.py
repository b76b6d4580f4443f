"""Search for a value in the texts that a policy was shown: names, ids, dates, times and numbers."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from toolserver.world.schema import SemanticType, ValueKind

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FACTORS = {  # unit of the world -> factor and offset of the other ways in which a vendor may write it
    "km": [(0.621371, 0)], "m": [(3.28084, 0)], "kg": [(2.20462, 0)], "g": [(0.035274, 0)], "C": [(1.8, 32)],
    "km/h": [(0.621371, 0)], "mm": [(0.0393701, 0)], "USD": [(100, 0)],
}  # fmt: skip
_ORDERS = {
    "ascending": "lowest fewest least smallest shortest cheapest quietest slowest lightest worst",
    "descending": "highest most largest greatest longest busiest fastest tallest heaviest best",
}
_SLACK = 0.005


class Shown:
    """Text that a policy has read so far: the query and the observations."""

    def __init__(self, query: str) -> None:
        self.text = ""
        self._dates: set[str] = set()
        self._times: set[str] = set()
        self._numbers: set[float] = set()
        self.add(query)

    def add(self, text: str) -> None:
        """Add another text."""
        self.text += "\n" + text.casefold()
        self._dates |= set(_dates(text))
        self._times |= set(_times(text))
        self._numbers |= {float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}

    def holds(self, kind: SemanticType, value: Any) -> bool:
        """Return True if the text contains a semantic value of a type, in any vendor's style."""
        if kind.kind is ValueKind.DATE:
            return value in self._dates
        if kind.kind is ValueKind.TIME:
            return value in self._times
        if kind.kind in (ValueKind.INTEGER, ValueKind.NUMBER):
            ways = [(1, 0), *_FACTORS.get(kind.unit, ())]
            return any(self._has_number(value * factor + offset) for factor, offset in ways)
        if kind.kind is ValueKind.ENUM and value in _ORDERS:
            return any(word in self.text for word in _ORDERS[value].split())
        return re.search(rf"(?<!\w){re.escape(str(value).casefold())}(?!\w)", self.text) is not None

    def _has_number(self, value: float) -> bool:
        return any(abs(abs(value) - each) <= _SLACK * max(1.0, abs(value)) for each in self._numbers)


def _dates(text: str) -> Iterator[str]:
    for year, month, day in re.findall(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?!\d)", text):
        yield f"{year}-{month}-{day}"
    for one, other, year in re.findall(r"(?<!\d)(\d\d?)[/.](\d\d?)[/.](\d{4})(?!\d)", text):
        yield from (f"{year}-{int(one):02d}-{int(other):02d}", f"{year}-{int(other):02d}-{int(one):02d}")
    for word, day, year in re.findall(r"([A-Z][a-z]{2,8}) (\d\d?)(?:st|nd|rd|th)?,? (\d{4})", text):
        yield from _worded(word, day, year)
    for day, word, year in re.findall(r"(\d\d?)(?:st|nd|rd|th)?(?: of)? ([A-Z][a-z]{2,8}),? (\d{4})", text):
        yield from _worded(word, day, year)


def _worded(word: str, day: str, year: str) -> Iterator[str]:
    if word[:3].lower() in _MONTHS:
        yield date(int(year), _MONTHS.index(word[:3].lower()) + 1, int(day)).isoformat()


def _times(text: str) -> Iterator[str]:
    for hour, minute, half in re.findall(r"(?<!\d)(\d\d?):(\d\d)(?: ?([AaPp])\.?[Mm])?", text):
        hours = int(hour) % 12 + (12 if half in "Pp" else 0) if half else int(hour)
        yield f"{hours:02d}:{minute}"
