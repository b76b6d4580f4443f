"""What values the columns of a world hold: how many, and which texts compete with each other."""

from __future__ import annotations

from typing import Any

from toolserver.world.tasks.reading import fold
from toolserver.world.world import World


class Columns:
    """Remembers facts about the columns of a world, each found when it is first asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._distinct: dict[str, int] = {}
        self._folded: dict[str, frozenset[str]] = {}

    def distinct(self, attribute: str) -> int:
        """How many different values a column (`city.population`) has."""
        count = self._distinct.get(attribute)
        if count is None:
            count = self._distinct[attribute] = len(set(self._values(attribute)))
        return count

    def folded(self, attribute: str) -> frozenset[str]:
        """The folded texts of a column."""
        texts = self._folded.get(attribute)
        if texts is None:
            texts = self._folded[attribute] = frozenset(fold(str(value)) for value in self._values(attribute))
        return texts

    def _values(self, attribute: str) -> list[Any]:
        """The values of a column; none when the attribute is of no table."""
        entity, _, column = attribute.partition(".")
        if entity not in self.world.entities:
            return []
        return [row[column] for row in self.world.table(entity).rows.values()]
