"""Statistics of a world's columns: number of distinct values, maximum, year of the dates."""

from collections.abc import Mapping
from typing import Any

from toolserver.world import calendar
from toolserver.world.world import World


class Columns:
    """Cached statistics of the columns of a world.

    Attributes:
        sayable: Outputs that a query can ask for, by operation: a cache of `planning.questions`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._distinct: dict[str, int] = {}
        self._highest: dict[str, float] = {}
        self._years: dict[str, int | None] = {}
        self.sayable: dict[str, Mapping[str, bool]] = {}

    def distinct(self, attribute: str) -> int:
        """Return the number of distinct values of a column (`city.population`)."""
        count = self._distinct.get(attribute)
        if count is None:
            count = self._distinct[attribute] = len(set(self._values(attribute)))
        return count

    def highest(self, attribute: str) -> float:
        """Return the maximum of a column; 0 if it is empty."""
        highest = self._highest.get(attribute)
        if highest is None:
            highest = self._highest[attribute] = max(map(float, self._values(attribute)), default=0.0)
        return highest

    def year(self, attribute: str) -> int | None:
        """Return the year of all dates of a column; `None` if there are several."""
        if attribute not in self._years:
            years = {int(value[:4]) for value in self._values(attribute)} or {calendar.TODAY.year}
            self._years[attribute] = years.pop() if len(years) == 1 else None
        return self._years[attribute]

    def _values(self, attribute: str) -> list[Any]:
        """Return the values of a column; empty if the attribute is not of a table."""
        entity, _, column = attribute.partition(".")
        if entity not in self.world.entities:
            return []
        return [row[column] for row in self.world.table(entity).rows.values()]
