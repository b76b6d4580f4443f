"""Generators of attribute values, and short ways to write attributes down. Domains are tables made of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toolserver.world import calendar
from toolserver.world.generators import names
from toolserver.world.schema import Attribute, Draw, Maker, SemanticType
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.types import STATUS, id_of, name_of, one_of


def integers(low: int, high: int, step: int = 1) -> Maker:
    """Evenly spread integers in [low, high], multiples of `step` above `low`."""
    span = (high - low) // step
    return lambda draw: low + step * draw.stream.between(0, span)


def skewed(low: int, high: int) -> Maker:
    """Integers in [low, high], most of them small. Only multiplications: exact on every machine."""

    def make(draw: Draw) -> int:
        unit = draw.stream.unit()
        return low + int((high - low) * (unit * unit * unit))

    return make


def numbers(low: float, high: float, places: int) -> Maker:
    """Decimal numbers in [low, high], rounded to `places`."""
    return lambda draw: round(low + (high - low) * draw.stream.unit(), places)


def prices(low: int, high: int) -> Maker:
    """Prices in USD, with cents, most of them low."""

    def make(draw: Draw) -> float:
        unit = draw.stream.unit()
        return round(low + (high - low) * (unit * unit), 2)

    return make


def dollars(low: int, high: int) -> Maker:
    """Amounts of whole USD, most of them low."""
    make = skewed(low, high)
    return lambda draw: float(make(draw))


def choice(values: Sequence[Any]) -> Maker:
    """One of `values`."""
    return lambda draw: draw.stream.pick(values)


def days(low: int, high: int) -> Maker:
    """Dates between `low` and `high` days from today."""
    return lambda draw: calendar.day(draw.stream.between(low, high))


def times(low: int, high: int) -> Maker:
    """Times of day between two hours, on the five minutes."""
    return lambda draw: calendar.clock(5 * draw.stream.between(low * 12, high * 12))


def flags(probability: float) -> Maker:
    """True with `probability`."""
    return lambda draw: draw.stream.chance(probability)


def worded(grammar: Callable[[SeededRandom], str]) -> Maker:
    """Text from a grammar of the lexicon."""
    return lambda draw: grammar(draw.stream)


def coded(pattern: str) -> Maker:
    """Codes such as `KX482` after a pattern of `A` (a letter) and `0` (a digit)."""
    return lambda draw: names.coded(draw.stream, pattern)


def reference(entity: str) -> Maker:
    """Ids of another table, spread so that every row there is pointed to about equally often."""

    def make(draw: Draw) -> str:
        ids = draw.world.ids(entity)
        # Half in rotation, half at random: parents have children when there are enough, yet counts differ.
        return ids[draw.index // 2 % len(ids)] if draw.index % 2 == 0 else draw.stream.pick(ids)

    return make


def other_reference(entity: str, attribute: str) -> Maker:
    """Ids of another table that differ from this row's `attribute` (the away team, the destination)."""

    def make(draw: Draw) -> str:
        ids = draw.world.ids(entity)
        position = ids.index(draw.row[attribute])
        return ids[(position + 1 + draw.stream.below(len(ids) - 1)) % len(ids)]

    return make


def measure(
    name: str, kind: SemanticType, make: Maker, label: str = "", *aka: str, volatile: bool = False
) -> Attribute:
    """A quantity that can be ranked, compared and averaged."""
    return Attribute(name, kind, make, label or name.replace("_", " "), aka, measure=True, volatile=volatile)


def plain(name: str, kind: SemanticType, make: Maker, label: str = "", *aka: str, volatile: bool = False) -> Attribute:
    """An attribute that is only shown."""
    return Attribute(name, kind, make, label or name.replace("_", " "), aka, volatile=volatile)


def choices(name: str, values: Sequence[str], label: str = "", *aka: str, kind: str = "") -> Attribute:
    """An enumeration; `kind` names its semantic type (by default the attribute's name)."""
    return Attribute(name, one_of(kind or name, *values), choice(tuple(values)), label or name.replace("_", " "), aka)


def named(entity: str, grammar: Callable[[SeededRandom], str], name: str = "name", *aka: str) -> Attribute:
    """The first attribute: what people call a row."""
    return Attribute(name, name_of(entity), worded(grammar), name, aka)


def record(entity: str, name: str = "customer", *aka: str) -> Attribute:
    """The first attribute of a record: the person it belongs to."""
    return Attribute(name, name_of(entity), worded(names.person), name, aka)


def status() -> Attribute:
    """Whether a record holds; every one does until it is cancelled."""
    return Attribute("status", STATUS, choice(("active",)), "status", ("state",))


def link(entity: str, name: str = "", label: str = "", make: Maker | None = None, *aka: str) -> Attribute:
    """A reference to a row of another table."""
    column = name or f"{entity}_id"
    words = label or column.removesuffix("_id").replace("_", " ")
    return Attribute(column, id_of(entity), make or reference(entity), words, aka)
