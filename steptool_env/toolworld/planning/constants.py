"""Values that a query can state: existing names, future dates, round amounts, bounds that a few rows pass."""

from collections.abc import Callable
from typing import Any

from toolserver.world import calendar
from toolserver.world.changes import NO_CHANGES
from toolserver.world.generators import names
from toolserver.world.schema import Operation, Slot, ValueKind
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


Draw = Callable[[World, SeededRandom], Any]
"""Function that draws a value in a world."""


def drawing(operation: Operation, name: str) -> Draw:
    """Return the function that draws values for the input `name` of `operation` that a person could state."""
    slot = operation.inputs[name]
    kind, entity = slot.type, slot.type.entity
    if slot.test in ("min", "max"):
        return lambda world, rng: _bound(world, operation.subject, slot, rng)
    if kind.kind is ValueKind.ID:
        return lambda world, rng: rng.pick(world.ids(entity))
    if kind.kind is ValueKind.TEXT:
        if entity:
            return lambda world, rng: rng.pick(world.table(entity).names)
        return lambda _, rng: names.person(rng) if kind == PERSON else names.title(rng)
    if kind.kind is ValueKind.ENUM:
        return lambda _, rng: rng.pick(kind.values)
    if kind.kind is ValueKind.DATE:
        return lambda _, rng: calendar.day(rng.between(1, calendar.HORIZON))
    if kind.kind is ValueKind.TIME:
        return lambda _, rng: calendar.clock(15 * rng.between(32, 80))
    if kind.kind is ValueKind.BOOLEAN:
        return lambda _, rng: rng.chance(0.5)
    low, step, steps = _range(slot)
    return lambda _, rng: low + step * rng.between(0, steps)


def _range(slot: Slot) -> tuple[int, int, int]:
    """Return the least stated number, the distance of two, and the number of distances."""
    low, high, step = _ROUND.get(slot.type.name, _ANY_NUMBER)
    if slot.low is not None:
        low = max(low, int(slot.low))
    if slot.high is not None:
        high = min(high, int(slot.high))
    return low, step, max(0, (high - low) // step)


def _bound(world: World, entity: str, slot: Slot, rng: SeededRandom) -> int | float:
    """Return a bound that two to four rows of the table pass, rounded as far as possible."""
    ids = world.ranked(entity, slot.attribute, descending=slot.test == "min", changes=NO_CHANGES)
    count = min(rng.between(2, _FEW), len(ids) - 1)
    inside, outside = (world.table(entity).rows[row_id][slot.attribute] for row_id in ids[count - 1 : count + 1])
    for power in (10_000, 1_000, 100, 10, 1):
        rounded = inside // power * power if slot.test == "min" else -(-inside // power) * power
        if min(inside, outside) < rounded < max(inside, outside):
            return int(rounded)
    bound: int | float = inside
    return bound
