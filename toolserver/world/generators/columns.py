"""Generators of attribute values, and constructors for attributes. Domains use them to define tables."""

from collections.abc import Sequence
from typing import Any

from toolserver.world import calendar
from toolserver.world.generators import names
from toolserver.world.schema import Attribute, DrawContext, SemanticType, ValueGenerator
from toolserver.world.types import STATUS, id_of, name_of, one_of


def integers(low: int, high: int, step: int = 1) -> ValueGenerator:
    """Uniform integers in [low, high] with a step."""
    span = (high - low) // step
    return lambda draw: low + step * draw.rng.between(0, span)


def skewed(low: int, high: int) -> ValueGenerator:
    """Integers in [low, high], most of them small. It uses multiplications alone: exact on every machine."""

    def make(draw: DrawContext) -> int:
        unit = draw.rng.unit()
        return low + int((high - low) * (unit * unit * unit))

    return make


def numbers(low: float, high: float, places: int) -> ValueGenerator:
    """Uniform numbers in [low, high], rounded to `places`."""
    return lambda draw: round(low + (high - low) * draw.rng.unit(), places)


def prices(low: int, high: int) -> ValueGenerator:
    """Prices in USD, with cents, most of them low."""

    def make(draw: DrawContext) -> float:
        unit = draw.rng.unit()
        return round(low + (high - low) * (unit * unit), 2)

    return make


def dollars(low: int, high: int) -> ValueGenerator:
    """Amounts of whole USD, most of them low."""
    make = skewed(low, high)
    return lambda draw: float(make(draw))


def choice(values: Sequence[Any]) -> ValueGenerator:
    """One of `values`."""
    return lambda draw: draw.rng.pick(values)


def days(low: int, high: int) -> ValueGenerator:
    """Dates from `low` to `high` days after today."""
    return lambda draw: calendar.day(draw.rng.between(low, high))


def times(low: int, high: int) -> ValueGenerator:
    """Times of day between two hours, in steps of five minutes."""
    return lambda draw: calendar.clock(5 * draw.rng.between(low * 12, high * 12))


def flags(probability: float) -> ValueGenerator:
    """True with `probability`."""
    return lambda draw: draw.rng.chance(probability)


def coded(pattern: str) -> ValueGenerator:
    """Codes such as `KX482` from a pattern of `A` (a letter) and `0` (a digit)."""

    def make(draw: DrawContext) -> str:
        below = draw.rng.below
        return "".join(chr(65 + below(26)) if sign == "A" else str(below(10)) for sign in pattern)

    return make


def reference(entity: str) -> ValueGenerator:
    """Ids of another table, with similar counts per id."""

    def make(draw: DrawContext) -> str:
        ids = draw.world.ids(entity)
        # Half in rotation, half at random: every parent has children if there are enough, and the counts differ.
        return ids[draw.index // 2 % len(ids)] if draw.index % 2 == 0 else draw.rng.pick(ids)

    return make


def other_reference(entity: str, attribute: str) -> ValueGenerator:
    """Ids of another table other than this row's `attribute` (the away team, the destination)."""

    def make(draw: DrawContext) -> str:
        ids = draw.world.ids(entity)
        position = ids.index(draw.row[attribute])
        return ids[(position + 1 + draw.rng.below(len(ids) - 1)) % len(ids)]

    return make


def measure(
    name: str, kind: SemanticType, make: ValueGenerator, label: str = "", *aka: str, volatile: bool = False
) -> Attribute:
    """Return a quantity that can be ranked, compared and averaged."""
    return Attribute(name, kind, make, label or name.replace("_", " "), aka, measure=True, volatile=volatile)


def plain(name: str, kind: SemanticType, make: ValueGenerator, label: str = "", *aka: str) -> Attribute:
    """Return an attribute without operations of its own."""
    return Attribute(name, kind, make, label or name.replace("_", " "), aka)


def choices(name: str, values: Sequence[str], label: str = "", *aka: str, kind: str = "") -> Attribute:
    """Return an enumeration; `kind` is the name of its semantic type (default: the attribute's name)."""
    return Attribute(name, one_of(kind or name, *values), choice(tuple(values)), label or name.replace("_", " "), aka)


def named(entity: str, grammar: names.NameGenerator, name: str = "name", *aka: str) -> Attribute:
    """Return the first attribute of a table: the name of a row."""
    return Attribute(name, name_of(entity), lambda draw: grammar(draw.rng), name, aka)


def record(entity: str, name: str = "customer", *aka: str) -> Attribute:
    """Return the first attribute of a record: its customer."""
    return named(entity, names.person, name, *aka)


def status() -> Attribute:
    """Return the status of a record: `active` until it is cancelled."""
    return Attribute("status", STATUS, choice(("active",)), "status", ("state",))


def link(entity: str, name: str = "", label: str = "", make: ValueGenerator | None = None, *aka: str) -> Attribute:
    """Return a reference to a row of another table."""
    column = name or f"{entity}_id"
    words = label or column.removesuffix("_id").replace("_", " ")
    return Attribute(column, id_of(entity), make or reference(entity), words, aka)
