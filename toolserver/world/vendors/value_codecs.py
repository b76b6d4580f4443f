"""Codecs between semantic values and the JSON values of vendors."""

import re
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any, NamedTuple

from toolserver.world import calendar
from toolserver.world.schema import SemanticType, ValueKind
from toolserver.world.vendors.style import ValueStyle

_LONGEST_TEXT = 500
_LARGEST = 1e12
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,9})?")
# Pattern, format in words, reader, and the reader's groups of year, month and day.
_DATES = {
    "iso": ("{year}-{month}-{day}", "YYYY-MM-DD", re.compile(r"(\d{4})-(\d\d)-(\d\d)"), (1, 2, 3)),
    "us": ("{month}/{day}/{year}", "MM/DD/YYYY", re.compile(r"(\d\d?)/(\d\d?)/(\d{4})"), (3, 1, 2)),
    "european": ("{day}.{month}.{year}", "DD.MM.YYYY", re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4})"), (3, 2, 1)),
    "compact": ("{year}{month}{day}", "YYYYMMDD", re.compile(r"(\d{4})(\d\d)(\d\d)"), (1, 2, 3)),
}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_CLOCK_12 = re.compile(r"(0?[1-9]|1[0-2]):([0-5]\d) ?([AaPp])[Mm]")


class Unit(NamedTuple):
    """Unit of a vendor: symbol and conversion from the base unit (`value * factor + offset`)."""

    symbol: str
    factor: float = 1.0
    offset: float = 0.0
    decimals: int = 0


_IMPERIAL = {
    "km": Unit("mi", 0.621371, 0.0, 2),
    "m": Unit("ft", 3.28084, 0.0, 1),
    "kg": Unit("lb", 2.20462, 0.0, 3),
    "g": Unit("oz", 0.035274, 0.0, 3),
    "C": Unit("F", 1.8, 32.0, 2),
    "km/h": Unit("mph", 0.621371, 0.0, 1),
    "mm": Unit("in", 0.0393701, 0.0, 3),
}
_CENTS = Unit("cents", 100.0)


class Codec(NamedTuple):
    """Codec of one semantic type in one value style.

    Attributes:
        encode: Semantic value -> JSON value; `None` if they are equal.
        decode: JSON value -> semantic value. Raises `ValueError` with the expected format as message.
        type: RapidAPI's name of the JSON type.
        unit: Unit of a quantity; else empty.
        hint: Format of a value for callers; may be empty.
        foreign: The unit is not the base unit.
    """

    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any]
    type: str = "STRING"
    unit: str = ""
    hint: str = ""
    foreign: bool = False


@cache
def codec_of(kind: SemanticType, values: ValueStyle) -> Codec:
    """Return the codec of a semantic type in a value style."""
    match kind.kind:
        case ValueKind.INTEGER | ValueKind.NUMBER:
            return _number_codec(kind, values)
        case ValueKind.DATE:
            return _date_codec(values.dates)
        case ValueKind.TIME:
            return _time_codec(values.twelve_hours)
        case ValueKind.ENUM:
            return _enum_codec(kind, values.enums)
        case ValueKind.BOOLEAN:
            return Codec(None, _read_flag, "BOOLEAN", hint="true or false")
        case ValueKind.ID:
            return Codec(None, _read_id)
    return Codec(None, _read_text)


def unit_of(kind: SemanticType, values: ValueStyle) -> Unit:
    """Return the unit of a quantity in a value style."""
    own = Unit(kind.unit, decimals=kind.decimals)
    if kind.unit == "USD":
        return _CENTS if values.cents else own
    return _IMPERIAL.get(kind.unit, own) if values.imperial else own


def _number_codec(kind: SemanticType, values: ValueStyle) -> Codec:
    unit = unit_of(kind, values)
    foreign = unit.symbol != kind.unit
    whole = kind.kind is ValueKind.INTEGER

    def encode(value: float) -> Any:
        number = _rounded(value * unit.factor + unit.offset, unit.decimals) if foreign else value
        return str(number) if values.text_numbers else number

    def decode(value: Any) -> float:
        number = _read_number(value)
        if not foreign and whole:
            if number != int(number):
                raise ValueError("a whole number")
            return int(number)
        back = (number - unit.offset) / unit.factor if foreign else number
        # Two more decimals than the type has: a value that `encode` rounded is decoded within the tolerance.
        return round(back) if whole else _rounded(back, kind.decimals + (2 if foreign else 0))

    plain = not foreign and not values.text_numbers
    hint = f"in {unit.symbol}" if unit.symbol else ""
    return Codec(None if plain else encode, decode, "NUMBER", unit.symbol, hint, foreign)


def _rounded(value: float, decimals: int) -> float:
    return round(value, decimals) if decimals else round(value)


def _read_number(value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        value = float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError("a number")
    return value


def _read_text(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a non-empty text")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(f"a text of at most {_LONGEST_TEXT} characters")
    return value.strip()


def _read_id(value: Any) -> str:
    return _read_text(value).upper()


def _read_flag(value: Any) -> bool:
    text = str(value).lower()
    if text in ("true", "false"):
        return text == "true"
    raise ValueError("true or false")


def _date_codec(style: str) -> Codec:
    pattern, words, reader, order = _DATES[style]

    def encode(iso: str) -> str:
        return pattern.format(year=iso[:4], month=iso[5:7], day=iso[8:])

    def decode(value: Any) -> str:
        # Callers often write a compact date as a number.
        text = str(value) if style == "compact" and isinstance(value, int) else value
        found = reader.fullmatch(text.strip()) if isinstance(text, str) and text.isascii() else None
        if found is None:
            raise ValueError(f"a date as {words}")
        year, month, day = (int(found[group]) for group in order)
        try:
            return date(year, month, day).isoformat()
        except ValueError:
            raise ValueError(f"an existing date as {words}") from None

    return Codec(None if style == "iso" else encode, decode, hint=words)


def _time_codec(twelve_hours: bool) -> Codec:
    def encode(time: str) -> str:
        hours, minutes = int(time[:2]), time[3:]
        return f"{(hours - 1) % 12 + 1}:{minutes} {'PM' if hours >= 12 else 'AM'}"

    def decode(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else ""
        found = (_CLOCK_12 if twelve_hours else _CLOCK).fullmatch(text)
        if found is None:
            raise ValueError("a time as H:MM AM/PM" if twelve_hours else "a time as HH:MM")
        hours, minutes = int(found[1]), int(found[2])
        if twelve_hours:
            hours = hours % 12 + (12 if found[3] in "Pp" else 0)
        return calendar.clock(60 * hours + minutes)

    return Codec(encode if twelve_hours else None, decode, hint="H:MM AM/PM" if twelve_hours else "HH:MM")


def _enum_codec(kind: SemanticType, case: str) -> Codec:
    change: Callable[[str], str] = {"upper": str.upper, "title": str.title}.get(case, str)
    spelled = {value: change(value) for value in kind.values}
    by_fold = {value.casefold(): value for value in kind.values}
    words = ", ".join(spelled.values())

    def decode(value: Any) -> str:
        found = by_fold.get(value.strip().casefold()) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"one of {words}")
        return found

    return Codec(None if case == "lower" else spelled.__getitem__, decode, hint=f"one of {words}")
