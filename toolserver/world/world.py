"""World: tables generated from a seed, and the operations on them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from toolserver.catalog.api_schema import Outcome
from toolserver.errors import ConfigurationError
from toolserver.world.changes import NO_CHANGES, Changes
from toolserver.world.levels import level_of
from toolserver.world.operations.registry import operations_of
from toolserver.world.schema import Domain, EntityType, Operation, Refusal, Result
from toolserver.world.tables import Table, make_ids


class World:
    """Relational data over several domains, and the operations on it. `make_world` makes one.

    The same seed, level and domains give the same world on every machine and Python. Tables are made on first use. A
    world is immutable: a write returns a new `Changes`, which is passed to the next call.

    Args:
        seed: Integer in 0..2**63-1.
        level: `lite`, `standard` or `full`: number of rows, and number of attributes that operations show.
        domains: Its domains, in a fixed order.
        version: Version of the world.

    Raises:
        ConfigurationError: The seed or the level is invalid.
    """

    def __init__(self, seed: int, level: str, domains: tuple[Domain, ...], version: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ConfigurationError(f"seed: {seed!r} is not a world seed; use an integer in 0..2**63-1")
        self.seed = seed
        self.level = level_of(level)
        self.version = version
        self.domains = {domain.name: domain for domain in domains}
        self.entities: dict[str, EntityType] = {entity.name: entity for domain in domains for entity in domain.entities}
        self.operations: dict[str, Operation] = operations_of(domains, self.level)
        self._ids: dict[str, tuple[str, ...]] = {}
        self._tables: dict[str, Table] = {}

    def __repr__(self) -> str:
        return f"World(seed={self.seed}, level={self.level.name!r})"

    def ids(self, entity: str) -> tuple[str, ...]:
        """Return the ids of an entity type's base rows, in table order."""
        ids = self._ids.get(entity)
        if ids is None:
            kind = self.entities[entity]
            ids = self._ids[entity] = make_ids(self.seed, kind, kind.counts[self.level.size])
        return ids

    def table(self, entity: str) -> Table:
        """Return the base rows of an entity type."""
        try:
            return self._tables[entity]
        except KeyError:
            table = self._tables[entity] = Table(self, self.entities[entity])
            return table

    def row(self, entity: str, row_id: str, changes: Changes = NO_CHANGES) -> dict[str, Any] | None:
        """Return one row after the changes; `None` if it does not exist. Do not modify the row."""
        row = self.table(entity).rows.get(row_id)
        if entity in changes.entities:
            patch = changes.patch(entity, row_id)
            if patch is not None:
                return {**(row or {}), **patch}
        return row

    def need(self, entity: str, row_id: str, changes: Changes) -> dict[str, Any]:
        """Return one row after the changes. Raises `Refusal` with NOT_FOUND if it does not exist."""
        row = self.row(entity, row_id, changes)
        if row is None:
            raise Refusal(Outcome.NOT_FOUND, f"No {self.entities[entity].label} with id '{row_id}' was found.")
        return row

    def rows(self, entity: str, ids: Sequence[str], changes: Changes) -> Iterable[tuple[str, dict[str, Any]]]:
        """Return existing rows with their ids, after the changes."""
        if entity in changes.entities:
            return ((row_id, self.need(entity, row_id, changes)) for row_id in ids)
        return zip(ids, map(self.table(entity).rows.__getitem__, ids), strict=True)

    def where(self, entity: str, attribute: str, value: Any, changes: Changes = NO_CHANGES) -> list[str]:
        """Return the ids of rows with a value of an attribute, after the changes, in table order."""
        ids = self.table(entity).where(attribute, value)
        if entity not in changes.entities:
            return ids
        changed = dict.fromkeys(changes.rows(entity))
        kept = [row_id for row_id in ids if row_id not in changed]
        return kept + [row_id for row_id in changed if self.need(entity, row_id, changes).get(attribute) == value]

    def ranked(
        self, entity: str, by: str, attribute: str = "", value: Any = None, *, descending: bool, changes: Changes
    ) -> Sequence[str]:
        """Return the ids of rows with a value of `attribute` (all rows if it is empty), after the changes, by `by`.

        Rows with equal values of `by` stay in table order.
        """
        if entity not in changes.entities:
            return self.table(entity).ranked(by, attribute, value, descending=descending)
        ids = self.where(entity, attribute, value, changes) if attribute else self.every(entity, changes)
        values_of = {row_id: row[by] for row_id, row in self.rows(entity, ids, changes)}
        return sorted(ids, key=values_of.__getitem__, reverse=descending)

    def find(self, entity: str, text: str, changes: Changes = NO_CHANGES) -> list[str]:
        """Return the ids of rows that `text` names, including created rows."""
        table = self.table(entity)
        ids = table.find(text)
        if entity not in changes.entities:
            return ids
        folded = text.strip().casefold()
        created = [row_id for row_id in changes.rows(entity) if row_id not in table.rows]
        return ids + [i for i in created if folded in str(self.need(entity, i, changes)[table.named]).casefold()]

    def tables_named(self, name: str) -> tuple[str, ...]:
        """Return the entity types that have a base row of this name (case-insensitive), in the world's order."""
        return self._tables_by_name.get(name.strip().casefold(), ())

    @cached_property
    def _tables_by_name(self) -> Mapping[str, tuple[str, ...]]:
        index: dict[str, tuple[str, ...]] = {}
        for entity in self.entities:
            for name in dict.fromkeys(self.table(entity).folded.values()):
                index[name] = (*index.get(name, ()), entity)
        return index

    def every(self, entity: str, changes: Changes = NO_CHANGES) -> list[str]:
        """Return the ids of all rows, after the changes."""
        ids = list(self.ids(entity))
        if entity not in changes.entities:
            return ids
        rows = self.table(entity).rows
        return ids + [row_id for row_id in changes.rows(entity) if row_id not in rows]

    def execute(
        self, operation: Operation | str, arguments: Mapping[str, Any], changes: Changes = NO_CHANGES
    ) -> Result:
        """Run an operation on semantic values.

        Args:
            operation: The operation, or its name.
            arguments: Values of the input's semantic type by input name. Vendors check the types on decoding.
            changes: Changes of the episode before the call.

        Returns:
            The result. An error of the world (missing row or input, sold out) is its typed outcome, not an exception.

        Raises:
            KeyError: No operation has this name.
        """
        if isinstance(operation, str):
            operation = self.operations[operation]
        values = dict(arguments)
        given = values.get
        for name, slot in operation.inputs.items():
            if given(name) is None:
                if slot.required:
                    message = f"Missing required parameter '{name}'."
                    return Result(operation, values, (), changes, Outcome.INVALID_ARGUMENTS, message)
                values[name] = slot.default
        try:
            rows, after = operation.run(self, values, changes)
        except Refusal as refusal:
            return Result(operation, values, (), changes, refusal.outcome, refusal.message)
        shown = tuple(rows) if isinstance(rows, list) else rows  # `ManyRows` stays lazy
        return Result(operation, values, shown, after, Outcome.OK, "", len(shown))
