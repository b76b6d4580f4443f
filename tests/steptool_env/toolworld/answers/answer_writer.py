"""Writes values into answers in words, units and styles of its own, and makes values that are wrong.

It shares no code with the vendors' codecs and the verifier's reading.
"""

from datetime import date, timedelta
from typing import Any

from toolserver.world.schema import SemanticType, ValueKind

_UNITS = {  # unit of the world -> how it is written, each with the factor and offset from the world's unit
    "km": [("km", 1, 0), ("kilometres", 1, 0), ("miles", 1 / 1.609344, 0)],
    "m": [("m", 1, 0), ("metres", 1, 0), ("feet", 1 / 0.3048, 0)],
    "kg": [("kg", 1, 0), ("kilograms", 1, 0), ("lb", 1 / 0.45359237, 0)],
    "g": [("g", 1, 0), ("grams", 1, 0), ("oz", 1 / 28.349523, 0)],
    "C": [("°C", 1, 0), ("degrees Celsius", 1, 0), ("°F", 1.8, 32)],
    "km/h": [("km/h", 1, 0), ("mph", 1 / 1.609344, 0)],
    "mm": [("mm", 1, 0), ("inches", 1 / 25.4, 0)],
    "USD": [("USD", 1, 0), ("dollars", 1, 0), ("cents", 100, 0)],
    "min": [("min", 1, 0), ("minutes", 1, 0)],
    "kcal": [("kcal", 1, 0)],
    "days": [("days", 1, 0)],
    "%": [("%", 1, 0), ("percent", 1, 0)],
}
_DATES = ("{day:%Y-%m-%d}", "{day:%B} {day.day}, {day.year}", "{day.day} {day:%b} {day.year}", "{day:%d.%m.%Y}")


def written(kind: SemanticType, value: Any, style: int) -> str:
    """A value in one of some styles; `style` is any non-negative number."""
    if kind.kind is ValueKind.BOOLEAN:
        return "yes" if value else "no"
    if kind.kind is ValueKind.DATE:
        return _DATES[style % len(_DATES)].format(day=date.fromisoformat(value))
    if kind.kind is ValueKind.TIME:
        return _clock(value) if style % 2 else str(value)
    if kind.kind not in (ValueKind.INTEGER, ValueKind.NUMBER):
        return str(value)
    units = _UNITS.get(kind.unit, [("", 1.0, 0.0)])
    word, factor, offset = units[style % len(units)]
    decimals = kind.decimals if factor == 1 else kind.decimals + 3
    grouping = "," if style % 4 > 1 else ""
    return f"{value * factor + offset:{grouping}.{decimals}f} {word}".strip()


def _clock(value: str) -> str:
    hour, minute = int(value[:2]), value[3:]
    return f"{hour % 12 or 12}:{minute} {'p.m.' if hour > 11 else 'a.m.'}"


def spoiled(kind: SemanticType, value: Any, column: list[Any]) -> Any:
    """Another value than the right one: one per cent away, a day or minute later, or the next of the column."""
    if kind.kind is ValueKind.BOOLEAN:
        return not value
    if kind.kind is ValueKind.DATE:
        return (date.fromisoformat(value) + timedelta(days=1)).isoformat()
    if kind.kind is ValueKind.TIME:
        return f"{value[:3]}{(int(value[3:]) + 1) % 60:02d}"
    if kind.kind in (ValueKind.INTEGER, ValueKind.NUMBER):
        least = 2 * 10.0**-kind.decimals if kind.decimals or kind.unit else 1
        return value + max(abs(value) / 100, least)
    texts = column or list(kind.values)
    return texts[(texts.index(value) + 1) % len(texts)]
