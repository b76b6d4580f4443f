"""What an episode's writes have changed: a small, ordered, JSON-able record over the immutable world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from toolserver.world.seeded_random import number

_NONE: frozenset[str] = frozenset()


class Change(NamedTuple):
    """One change: the row `id` of table `entity` has these values now (a new row, when the world has none).

    A created row has all its values, a changed row only those that differ.
    """

    entity: str
    id: str
    values: Mapping[str, Any]


class Changes:
    """An ordered record of changes. Immutable: a write gives a new one.

    Args:
        changes: The changes, oldest first.
        salt: Names the episode, so that ids of created rows differ between episodes.
    """

    __slots__ = ("_entities", "changes", "salt")

    def __init__(self, changes: Iterable[Change] = (), salt: str | int = "") -> None:
        self.changes: tuple[Change, ...] = tuple(changes)
        self.salt = salt
        # Most episodes change nothing, and each of their calls makes a record of that.
        self._entities = frozenset([change.entity for change in self.changes]) if self.changes else _NONE

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Changes) and (self.changes, self.salt) == (other.changes, other.salt)

    def __repr__(self) -> str:
        return f"Delta({list(self.changes)!r}, salt={self.salt!r})"

    def then(self, *changes: Change) -> Changes:
        """This record with more changes at its end."""
        return Changes(self.changes + changes, self.salt)

    def touches(self, entity: str) -> bool:
        """Whether any row of a table was created or changed."""
        return entity in self._entities

    def patch(self, entity: str, row_id: str) -> dict[str, Any] | None:
        """What the changes say of one row, later ones last; `None` when they say nothing."""
        patch: dict[str, Any] | None = None
        for change in self.changes:
            if change.entity == entity and change.id == row_id:
                patch = {**(patch or {}), **change.values}
        return patch

    def rows(self, entity: str) -> Iterator[str]:
        """The ids of the rows of a table that were created or changed, in order of their first change."""
        return iter(dict.fromkeys(change.id for change in self.changes if change.entity == entity))

    def new_number(self, *parts: str | int) -> int:
        """A 64-bit number for the next created row, from the salt and everything that happened before."""
        return number("delta", self.salt, len(self.changes), *parts)

    def to_json(self) -> tuple[list[Any], ...]:
        """The changes as JSON values: `[entity, id, {name: value}]` each."""
        return tuple([change.entity, change.id, dict(change.values)] for change in self.changes)

    @classmethod
    def from_json(cls, changes: Iterable[Any], salt: str | int = "") -> Changes:
        """The inverse of `to_json`. Raises `ValueError` when a change has another shape."""
        return cls(map(_read_change, changes), salt)


NO_CHANGES = Changes()


def _read_change(change: Any) -> Change:
    match change:
        case [str(entity), str(row_id), dict(values)]:
            return Change(entity, row_id, values)
    raise ValueError(f"{change!r} is no change of the world; expected [entity, id, {{name: value}}]")
