"""How rows of a table become rows of a result, and what operations on tables call things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload

from toolserver.world.changes import Changes
from toolserver.world.levels import Level
from toolserver.world.schema import Attribute, EntityType, Kind, Output, Row, Slot, WorldView
from toolserver.world.types import id_of

_FEW = 32  # rows that are made at once


def id_output(entity: EntityType, name: str = "") -> Output:
    """The output that carries a row's own id."""
    return Output(id_of(entity.name), f"{entity.name}.id", f"{entity.label} id", ("id",) if not name else ())


def reference_names(entity: str) -> tuple[str, ...]:
    """What vendors call the id of a row besides `city_id`."""
    return f"{entity}_code", f"{entity}_ref", f"{entity}_key"


def words_of(attribute: Attribute) -> str:
    """The short words for an attribute that go into names of APIs."""
    return attribute.name.removesuffix("_id").replace("_", " ")


def output(entity: EntityType, attribute: Attribute) -> Output:
    """The output that carries one attribute of a row."""
    fact = f"{entity.name}.{attribute.name}"
    return Output(attribute.type, fact, attribute.label, attribute.aka, volatile=attribute.volatile)


def listing(entity: EntityType, level: Level, *more: Attribute) -> dict[str, Output]:
    """The outputs of a row in a list: id, name, what else the level shows, and `more`."""
    shown = [entity.attributes[0], *_brief(entity, level), *more]
    return {entity.id_name: id_output(entity)} | {each.name: output(entity, each) for each in shown}


class ManyRows(Sequence[Row]):
    """Rows that are made when they are looked at: a vendor shows a page of a list and not all of it."""

    __slots__ = ("_ids", "_make")

    def __init__(self, ids: Sequence[str], make: Callable[[Sequence[str]], list[Row]]) -> None:
        self._ids = ids
        self._make = make

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        if isinstance(index, slice):
            return tuple(self._make(self._ids[index]))
        return self._make([self._ids[index]])[0]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._make(self._ids))


Lister = Callable[[WorldView, Sequence[str], Changes], Sequence[Row]]
"""Makes rows of some ids of a table, after the changes."""


def lister(entity: EntityType, outputs: Mapping[str, Output]) -> Lister:
    """What makes rows with these outputs, id included where it is one of them."""
    id_name, entity_name = entity.id_name, entity.name
    names = [name for name in outputs if name != id_name]
    with_id = id_name in outputs

    def make(world: WorldView, ids: Sequence[str], delta: Changes) -> list[Row]:
        rows = []
        for row_id, row in world.rows(entity_name, ids, delta):
            values = {id_name: row_id} if with_id else {}
            for name in names:
                values[name] = row[name]
            rows.append(Row(row_id, values))
        return rows

    def rows_of(world: WorldView, ids: Sequence[str], delta: Changes) -> Sequence[Row]:
        if len(ids) <= _FEW:
            return make(world, ids, delta)
        return ManyRows(ids, lambda wanted: make(world, wanted, delta))

    return rows_of


def _brief(entity: EntityType, level: Level) -> list[Attribute]:
    """Attributes shown in lists: descriptive ones, never a measure or a reference, which would save a needed call."""
    shown = [each for each in entity.attributes[1:] if not each.measure and each.type.kind is Kind.ENUM]
    return shown[: level.brief]


def measures(entity: EntityType, level: Level) -> list[Attribute]:
    """The measures that get operations of their own at this level."""
    return [each for each in entity.attributes if each.measure][: level.measures]


def id_slot(entity: EntityType, word: str = "", *aka: str) -> Slot:
    """The input that takes a row's id."""
    return Slot(id_of(entity.name), f"id of the {word or entity.label}", aka=aka or reference_names(entity.name))
