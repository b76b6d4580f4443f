"""Values that a query can state: names that exist, days ahead, round amounts, bounds that let a few rows through."""

from __future__ import annotations

from typing import Any

from toolserver.world import calendar
from toolserver.world.generators import names
from toolserver.world.schema import Kind, Operation, SemanticType, Slot
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.types import PERSON
from toolserver.world.world import World

_FEW = 4
_ROUND = {  # semantic type -> low, high, step of what people say
    "money": (20, 2400, 5), "foreign_money": (50, 9000, 10), "percent": (5, 25, 1), "distance": (20, 1800, 5),
    "speed": (40, 140, 5), "count": (2, 8, 1), "minutes": (15, 240, 5), "mass": (1, 40, 1), "days": (2, 14, 1),
    "body_height": (150, 200, 1), "grams": (50, 900, 10), "year": (1950, 2030, 1),
}  # fmt: skip
_ANY_NUMBER = (2, 90, 1)


def given_id(world: World, entity: str, stream: SeededRandom) -> str:
    """An id that the query starts from."""
    return stream.pick(world.ids(entity))


def constant(world: World, operation: Operation, name: str, stream: SeededRandom) -> Any:
    """A value for the input `name` of `operation` that a person could ask with."""
    slot = operation.inputs[name]
    kind = slot.type
    if slot.test in ("min", "max"):
        return _bound(world, operation, slot, stream)
    if kind.kind is Kind.TEXT:
        return _text(world, kind, stream)
    if kind.kind is Kind.ENUM:
        return stream.pick(kind.values)
    if kind.kind is Kind.DATE:
        return calendar.day(stream.between(1, calendar.HORIZON))
    if kind.kind is Kind.TIME:
        return calendar.clock(15 * stream.between(32, 80))
    if kind.kind is Kind.BOOLEAN:
        return stream.chance(0.5)
    return _number(slot, stream)


def _text(world: World, kind: SemanticType, stream: SeededRandom) -> str:
    if kind.entity:
        return stream.pick(world.table(kind.entity).names)
    return names.person(stream) if kind == PERSON else names.title(stream)


def _number(slot: Slot, stream: SeededRandom) -> int | float:
    low, high, step = _ROUND.get(slot.type.name, _ANY_NUMBER)
    if slot.low is not None:
        low = max(low, int(slot.low))
    if slot.high is not None:
        high = min(high, int(slot.high))
    return low + step * stream.between(0, max(0, (high - low) // step))


def _bound(world: World, operation: Operation, slot: Slot, stream: SeededRandom) -> int | float:
    """A bound that two to four rows of the table keep, as round as the gap allows."""
    rows = world.table(operation.subject).rows.values()
    values = sorted((row[slot.attribute] for row in rows), reverse=slot.test == "min")
    count = min(stream.between(2, _FEW), len(values) - 1)
    inside, outside = values[count - 1], values[count]
    for power in (10_000, 1_000, 100, 10, 1):
        rounded = inside // power * power if slot.test == "min" else -(-inside // power) * power
        if min(inside, outside) < rounded < max(inside, outside):
            return int(rounded)
    bound: int | float = inside
    return bound
