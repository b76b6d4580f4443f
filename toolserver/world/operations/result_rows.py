"""Conversion of table rows to result rows, and constructors for outputs and inputs of operations on tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload

from toolserver.world.changes import Changes
from toolserver.world.levels import WorldLevel
from toolserver.world.schema import Attribute, EntityType, Output, Row, Slot, ValueKind, WorldView
from toolserver.world.types import id_of

_FEW = 32  # a result with more rows makes them on access


def id_output(entity: EntityType) -> Output:
    """Return the output with the id of a row."""
    return Output(id_of(entity.name), f"{entity.name}.id", f"{entity.label} id", ("id",))


def reference_names(entity: str) -> tuple[str, ...]:
    """Return other names that vendors use for an id, besides `city_id`."""
    return f"{entity}_code", f"{entity}_ref", f"{entity}_key"


def words_of(attribute: Attribute) -> str:
    """Return the words for an attribute in names of APIs."""
    return attribute.name.removesuffix("_id").replace("_", " ")


def output(entity: EntityType, attribute: Attribute) -> Output:
    """Return the output with one attribute of a row."""
    fact = f"{entity.name}.{attribute.name}"
    return Output(attribute.type, fact, attribute.label, attribute.aka, volatile=attribute.volatile)


def row_outputs(entity: EntityType, level: WorldLevel, *more: Attribute) -> dict[str, Output]:
    """Return the outputs of a row in a list: id, name, the level's further attributes, and `more`."""
    # Of the others only enumerations: a measure or a reference would make another call needless.
    enums = [each for each in entity.attributes[1:] if not each.measure and each.type.kind is ValueKind.ENUM]
    shown = [entity.attributes[0], *enums[: level.brief], *more]
    return {entity.id_name: id_output(entity)} | {each.name: output(entity, each) for each in shown}


class ManyRows(Sequence[Row]):
    """Rows that are made on access: a vendor shows one page of a list."""

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


RowMaker = Callable[[WorldView, Sequence[str], Changes], Sequence[Row]]
"""Function that makes rows for ids of a table, after the changes."""


def row_maker(entity: EntityType, outputs: Mapping[str, Output]) -> RowMaker:
    """Return a function that makes rows with these outputs, one of which is the id."""
    id_name, entity_name = entity.id_name, entity.name
    names = [name for name in outputs if name != id_name]

    def make(world: WorldView, ids: Sequence[str], changes: Changes) -> list[Row]:
        rows = []
        for row_id, row in world.rows(entity_name, ids, changes):
            values = {id_name: row_id}
            for name in names:
                values[name] = row[name]
            rows.append(Row(row_id, values))
        return rows

    def rows_of(world: WorldView, ids: Sequence[str], changes: Changes) -> Sequence[Row]:
        if len(ids) <= _FEW:
            return make(world, ids, changes)
        return ManyRows(ids, lambda wanted: make(world, wanted, changes))

    return rows_of


def measures(entity: EntityType, level: WorldLevel) -> list[Attribute]:
    """Return the measures that have their own operations at this level."""
    return [each for each in entity.attributes if each.measure][: level.measures]


def id_slot(entity: EntityType, word: str = "", *aka: str) -> Slot:
    """Return the input for the id of a row."""
    return Slot(id_of(entity.name), f"id of the {word or entity.label}", aka=aka or reference_names(entity.name))
