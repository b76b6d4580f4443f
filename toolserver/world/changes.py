"""Changes of an episode: a small, ordered, JSON-able record on top of the immutable world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from toolserver.world.seeded_random import number

_NONE: frozenset[str] = frozenset()


class Change(NamedTuple):
    """One change: the new values of row `id` of table `entity`.

    A created row has all its values, a changed row only those that differ.
    """

    entity: str
    id: str
    values: Mapping[str, Any]


class Changes:
    """Ordered, immutable record of changes. A write returns a new record.

    Args:
        changes: Changes, oldest first.
        salt: Name of the episode; ids of created rows and tokens depend on it.

    Attributes:
        entities: Tables of which a row was created or changed.
    """

    __slots__ = ("changes", "entities", "salt")

    def __init__(self, changes: Iterable[Change] = (), salt: str | int = "") -> None:
        self.changes: tuple[Change, ...] = tuple(changes)
        self.salt = salt
        # The common case is an empty record: one is created for every call.
        self.entities = frozenset([change.entity for change in self.changes]) if self.changes else _NONE

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Changes) and (self.changes, self.salt) == (other.changes, other.salt)

    def __repr__(self) -> str:
        return f"Changes({list(self.changes)!r}, salt={self.salt!r})"

    def then(self, *changes: Change) -> Changes:
        """Return a record with `changes` appended."""
        return Changes(self.changes + changes, self.salt)

    def patch(self, entity: str, row_id: str) -> dict[str, Any] | None:
        """Return the new values of one row; `None` if it did not change."""
        patch: dict[str, Any] | None = None
        for change in self.changes:
            if change.entity == entity and change.id == row_id:
                patch = {**(patch or {}), **change.values}
        return patch

    def rows(self, entity: str) -> Iterator[str]:
        """Return the ids of created or changed rows of a table, in order of their first change."""
        return iter(dict.fromkeys(change.id for change in self.changes if change.entity == entity))

    def new_number(self, *parts: str | int) -> int:
        """Return a 64-bit number for the next created row; it depends on the salt and the number of changes."""
        return number("delta", self.salt, len(self.changes), *parts)

    def to_json(self) -> tuple[list[Any], ...]:
        """Return the changes as JSON values: `[entity, id, {name: value}]` each."""
        return tuple([change.entity, change.id, dict(change.values)] for change in self.changes)

    @classmethod
    def from_json(cls, changes: Iterable[Any], salt: str | int = "") -> Changes:
        """Inverse of `to_json`. Raises `ValueError` if a change has another shape."""
        return cls(map(_read_change, changes), salt)


NO_CHANGES = Changes()


def _read_change(change: Any) -> Change:
    match change:
        case [str(entity), str(row_id), dict(values)]:
            return Change(entity, row_id, values)
    raise ValueError(f"{change!r:.40} is not a change of the world; expected [entity, id, {{name: value}}]")
