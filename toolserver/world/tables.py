"""Rows of one entity type, generated from the seed, with indexes for the operations."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from toolserver.world.schema import DrawContext, EntityType, ValueGenerator, WorldView
from toolserver.world.seeded_random import SeededRandom

_ATTEMPTS = 40


def make_ids(seed: int, entity: EntityType, count: int) -> tuple[str, ...]:
    """Return `count` random ids of one length, such as `C4821`."""
    rng = SeededRandom(seed, "ids", entity.name)
    low = 10 ** (entity.digits - 1)
    numbers: dict[int, None] = {}
    while len(numbers) < count:
        numbers[low + rng.below(9 * low)] = None
    return tuple(f"{entity.prefix}{number}" for number in numbers)


class Table:
    """All rows of one entity type: id -> values. Immutable."""

    def __init__(self, world: WorldView, entity: EntityType) -> None:
        self.entity = entity
        self.rows: dict[str, dict[str, Any]] = {row_id: {} for row_id in world.ids(entity.name)}
        for position, attribute in enumerate(entity.attributes):
            self._fill(world, position, attribute.name)
        self.named = entity.attributes[0].name
        self.folded = {row_id: str(row[self.named]).casefold() for row_id, row in self.rows.items()}
        self._exact: dict[str, list[str]] = _inverted(self.folded.items())
        self._indexes: dict[str, dict[Any, list[str]]] = {}
        self._rankings: dict[tuple[str, str, Any, bool], Sequence[str]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the rows, in table order."""
        return tuple(str(row[self.named]) for row in self.rows.values())

    def _fill(self, world: WorldView, position: int, name: str) -> None:
        """Generate one column. Each column has its own random generator, so a new column does not change the others."""
        generate = self.entity.attributes[position].generate
        draw = DrawContext(SeededRandom(world.seed, "column", self.entity.name, name), 0, {}, world)
        unique = position == 0
        seen: set[Any] = set()
        for draw.index, draw.row in enumerate(self.rows.values()):
            value = generate(draw)
            if unique:
                value = _distinct(value, draw, generate, seen)
            draw.row[name] = value

    def where(self, attribute: str, value: Any) -> list[str]:
        """Return the ids of rows with this value of an attribute, in table order."""
        index = self._indexes.get(attribute)
        if index is None:
            values = map(itemgetter(attribute), self.rows.values())
            index = self._indexes[attribute] = _inverted(zip(self.rows, values, strict=True))
        return index.get(value, [])

    def ranked(self, by: str, attribute: str, value: Any, *, descending: bool) -> Sequence[str]:
        """Return the ids of rows with this value of `attribute` (all rows if it is empty), sorted by attribute `by`.

        Rankings are cached: the table is immutable.
        """
        key = by, attribute, value, descending
        ranking = self._rankings.get(key)
        if ranking is None:
            ids = self.where(attribute, value) if attribute else self.rows
            if not ids:  # not cached: a client can send any value
                return ()
            ranking = tuple(sorted(ids, key=lambda row_id: self.rows[row_id][by], reverse=descending))
            self._rankings[key] = ranking
        return ranking

    def find(self, text: str) -> list[str]:
        """Return the ids of rows named `text`; if no row is, of rows whose name contains it."""
        folded = text.strip().casefold()
        exact = self._exact.get(folded)
        if exact is not None:
            return exact
        return [row_id for row_id, name in self.folded.items() if folded in name] if folded else []


def _distinct(value: Any, draw: DrawContext, generate: ValueGenerator, seen: set[Any]) -> Any:
    """Return a value that no earlier row of the column has; after `_ATTEMPTS` draws a number is appended to it."""
    for _ in range(_ATTEMPTS):
        if value not in seen:
            break
        value = generate(draw)
    suffix, first = 2, value
    while value in seen:
        value = f"{first} {suffix}"
        suffix += 1
    seen.add(value)
    return value


def _inverted(values: Iterable[tuple[str, Any]]) -> dict[Any, list[str]]:
    """Return the ids of each value in their order."""
    index: defaultdict[Any, list[str]] = defaultdict(list)
    for row_id, value in values:
        index[value].append(row_id)
    return dict(index)
