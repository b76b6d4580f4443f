"""Values that a query can state: existing names, future dates, round amounts, bounds that a few rows pass."""

from __future__ import annotations

from typing import Any

from toolserver.world import calendar
from toolserver.world.generators import names
from toolserver.world.schema import Operation, SemanticType, Slot, ValueKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.types import PERSON
from toolserver.world.world import World

_FEW = 4
_ROUND = {  # semantic type -> low, high, step of stated numbers
    "money": (20, 2400, 5), "foreign_money": (50, 9000, 10), "percent": (5, 25, 1), "distance": (20, 1800, 5),
    "speed": (40, 140, 5), "count": (2, 8, 1), "minutes": (15, 240, 5), "mass": (1, 40, 1), "days": (2, 14, 1),
    "body_height": (150, 200, 1), "grams": (50, 900, 10), "year": (1950, 2030, 1),
}  # fmt: skip
_ANY_NUMBER = (2, 90, 1)


def given_id(world: World, entity: str, rng: SeededRandom) -> str:
    """Return an id that the query states."""
    return rng.pick(world.ids(entity))


def constant(world: World, operation: Operation, name: str, rng: SeededRandom) -> Any:
    """Return a value for the input `name` of `operation` that a person could state."""
    slot = operation.inputs[name]
    kind = slot.type
    if slot.test in ("min", "max"):
        return _bound(world, operation, slot, rng)
    if kind.kind is ValueKind.TEXT:
        return _text(world, kind, rng)
    if kind.kind is ValueKind.ENUM:
        return rng.pick(kind.values)
    if kind.kind is ValueKind.DATE:
        return calendar.day(rng.between(1, calendar.HORIZON))
    if kind.kind is ValueKind.TIME:
        return calendar.clock(15 * rng.between(32, 80))
    if kind.kind is ValueKind.BOOLEAN:
        return rng.chance(0.5)
    return _number(slot, rng)


def _text(world: World, kind: SemanticType, rng: SeededRandom) -> str:
    if kind.entity:
        return rng.pick(world.table(kind.entity).names)
    return names.person(rng) if kind == PERSON else names.title(rng)


def _number(slot: Slot, rng: SeededRandom) -> int | float:
    low, high, step = _ROUND.get(slot.type.name, _ANY_NUMBER)
    if slot.low is not None:
        low = max(low, int(slot.low))
    if slot.high is not None:
        high = min(high, int(slot.high))
    return low + step * rng.between(0, max(0, (high - low) // step))


def _bound(world: World, operation: Operation, slot: Slot, rng: SeededRandom) -> int | float:
    """Return a bound that two to four rows of the table pass, rounded as far as possible."""
    rows = world.table(operation.subject).rows.values()
    values = sorted((row[slot.attribute] for row in rows), reverse=slot.test == "min")
    count = min(rng.between(2, _FEW), len(values) - 1)
    inside, outside = values[count - 1], values[count]
    for power in (10_000, 1_000, 100, 10, 1):
        rounded = inside // power * power if slot.test == "min" else -(-inside // power) * power
        if min(inside, outside) < rounded < max(inside, outside):
            return int(rounded)
    bound: int | float = inside
    return bound
