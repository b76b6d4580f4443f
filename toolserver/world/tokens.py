"""Codec of the state tokens of one world, which checks the changes in a token."""

from collections.abc import Iterable, Sequence
from typing import Any

from toolserver.episodes.state_token import PUBLIC_KEY, StateCodec, is_count
from toolserver.errors import StateTokenError
from toolserver.world import calendar
from toolserver.world.changes import Change, Changes
from toolserver.world.schema import EntityType, SemanticType, ValueKind
from toolserver.world.vendors import VendorRegistry
from toolserver.world.world import World

_LARGEST = 2.0**53


def world_codec(vendors: VendorRegistry, key: bytes = PUBLIC_KEY) -> StateCodec:
    """Return the codec of the tokens of a world with these vendors. It rejects tokens of other worlds."""
    return StateCodec(key, vendors.identity, ChangeCheck(vendors.world))


class ChangeCheck:
    """Refuses changes that no write of a world makes.

    The signature says who wrote a token, and the default key is public. A change that no write makes (an unknown table,
    a text for a number, a rate of 0) would fail somewhere inside an operation.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._stocks = {(each.subject, each.stock) for each in world.operations.values() if each.stock}

    def __call__(self, changes: Sequence[Any]) -> None:
        """Raise `StateTokenError` for the first change that no write makes after those before it."""
        created: set[tuple[str, str]] = set()
        try:
            for change in Changes.from_json(changes).changes:
                self._check(change, created)
        except ValueError as error:
            raise StateTokenError(f"delta: {error}") from None

    def _check(self, change: Change, created: set[tuple[str, str]]) -> None:
        entity = self._world.entities.get(change.entity)
        if entity is None:
            raise ValueError(f"{change.entity[:40]!r} is not a table of this world")
        self._check_row(entity, change, created)
        types = {attribute.name: attribute.type for attribute in entity.attributes}
        for name, value in change.values.items():
            if name not in types or not (entity.record or (entity.name, name) in self._stocks):
                raise ValueError(f"{entity.name} has no attribute {name[:40]!r} that a call can change")
            open_date = value is None and types[name].kind is ValueKind.DATE  # a sale leaves dates of its record open
            if not open_date and not self._fits(types[name], value, created):
                raise ValueError(f"{value!r:.40} is not a value of {entity.name}.{name}")

    def _check_row(self, entity: EntityType, change: Change, created: set[tuple[str, str]]) -> None:
        """The row is there, or all of it is created now."""
        if self._exists(entity.name, change.id, created):
            return
        missing = [attribute.name for attribute in entity.attributes if attribute.name not in change.values]
        if not entity.record or missing:
            what = f"a new {entity.name} without {', '.join(missing)}" if entity.record else f"no id of a {entity.name}"
            raise ValueError(f"{change.id[:40]!r} is {what}")
        created.add((entity.name, change.id))

    def _exists(self, entity: str, row_id: str, created: Iterable[tuple[str, str]]) -> bool:
        return row_id in self._world.table(entity).rows or (entity, row_id) in created

    def _fits(self, kind: SemanticType, value: Any, created: Iterable[tuple[str, str]]) -> bool:
        if kind.kind is ValueKind.ID:
            return isinstance(value, str) and self._exists(kind.entity, value, created)
        if kind.kind is ValueKind.INTEGER:
            return is_count(value)
        if kind.kind is ValueKind.NUMBER:
            return type(value) in (int, float) and abs(value) <= _LARGEST
        if kind.kind is ValueKind.BOOLEAN:
            return isinstance(value, bool)
        return isinstance(value, str) and (kind.kind is not ValueKind.DATE or _is_date(value))


def _is_date(text: str) -> bool:
    try:
        calendar.offset_of(text)
    except ValueError:
        return False
    return True
