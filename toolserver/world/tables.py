"""The rows of one entity type, made from the seed, with the indexes that operations need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from toolserver.world.schema import Draw, EntityType, WorldView
from toolserver.world.seeded_random import SeededRandom

_ATTEMPTS = 40


def make_ids(seed: int, entity: EntityType, count: int) -> tuple[str, ...]:
    """`count` ids such as `C4821`: unguessable from each other, all of one length."""
    stream = SeededRandom(seed, "ids", entity.name)
    low = 10 ** (entity.digits - 1)
    numbers: dict[int, None] = {}
    while len(numbers) < count:
        numbers[low + stream.below(9 * low)] = None
    return tuple(f"{entity.prefix}{number}" for number in numbers)


class Table:
    """All rows of one entity type: id -> values. Immutable once made."""

    def __init__(self, world: WorldView, entity: EntityType) -> None:
        self.entity = entity
        self.rows: dict[str, dict[str, Any]] = {row_id: {} for row_id in world.ids(entity.name)}
        for position, attribute in enumerate(entity.attributes):
            self._fill(world, position, attribute.name)
        self.named = entity.attributes[0].name
        self.folded = {row_id: str(row[self.named]).casefold() for row_id, row in self.rows.items()}
        self._exact: dict[str, list[str]] = _inverted(self.folded)
        self._indexes: dict[str, dict[Any, list[str]]] = {}
        self._rankings: dict[tuple[str, str, Any, bool], Sequence[str]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the rows are called, in table order."""
        return tuple(str(row[self.named]) for row in self.rows.values())

    def _fill(self, world: WorldView, position: int, name: str) -> None:
        """Make one column. Each has its own stream, so that a new column leaves the others as they were."""
        make = self.entity.attributes[position].make
        draw = Draw(SeededRandom(world.seed, "column", self.entity.name, name), 0, {}, world)
        unique = position == 0
        seen: set[Any] = set()
        for draw.index, draw.row in enumerate(self.rows.values()):
            value = make(draw)
            if unique:
                value = _distinct(value, draw, make, seen)
            draw.row[name] = value

    def where(self, attribute: str, value: Any) -> list[str]:
        """Ids of the rows whose attribute has this value, in table order."""
        index = self._indexes.get(attribute)
        if index is None:
            index = _inverted({row_id: row[attribute] for row_id, row in self.rows.items()})
            self._indexes[attribute] = index
        return index.get(value, [])

    def ranked(self, by: str, attribute: str, value: Any, *, descending: bool) -> Sequence[str]:
        """Ids of the rows whose attribute has this value (of all rows, when it is empty), sorted by another one.

        Each ranking is made once: a world never changes, and tasks and vendors ask for the same ones again and again.
        """
        key = by, attribute, value, descending
        ranking = self._rankings.get(key)
        if ranking is None:
            ids = self.where(attribute, value) if attribute else self.rows
            if not ids:  # not worth keeping, and strangers could ask for any value
                return ()
            ranking = tuple(sorted(ids, key=lambda row_id: self.rows[row_id][by], reverse=descending))
            self._rankings[key] = ranking
        return ranking

    def find(self, text: str) -> list[str]:
        """Ids of the rows named `text`, or, when there is none, of those whose name contains it."""
        folded = text.strip().casefold()
        exact = self._exact.get(folded)
        if exact is not None:
            return exact
        return [row_id for row_id, name in self.folded.items() if folded in name] if folded else []


def _distinct(value: Any, draw: Draw, make: Any, seen: set[Any]) -> Any:
    """A value that no earlier row of the column has; a number is put behind it when the grammar runs out."""
    for _ in range(_ATTEMPTS):
        if value not in seen:
            break
        value = make(draw)
    suffix, first = 2, value
    while value in seen:
        value = f"{first} {suffix}"
        suffix += 1
    seen.add(value)
    return value


def _inverted(values: Mapping[str, Any]) -> dict[Any, list[str]]:
    index: dict[Any, list[str]] = {}
    for row_id, value in values.items():
        index.setdefault(value, []).append(row_id)
    return index
