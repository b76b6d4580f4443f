"""Levels of a world: number of rows, vendors and words of documentation."""

from dataclasses import dataclass

from toolserver.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class WorldLevel:
    """Settings of a level.

    Attributes:
        name: `lite`, `standard` or `full`.
        size: Index into the row counts of an entity type.
        detail: Number of attributes that a details operation shows.
        brief: Number of attributes beside id and name in the rows of a list.
        measures: Number of measures per entity type with operations that rank, compare, average and look up.
        tools: Default number of vendors.
        operations: Least and greatest number of operations of a vendor, without the added searches.
        rows: Maximum number of rows of an answer without pages.
        documentation: Length of the documentation: 0 one clause, 1 one or two sentences, 2 as long as RapidAPI's.
        plain: Vendors use metric units, ISO dates and flat answers only.
    """

    name: str
    size: int
    detail: int
    brief: int
    measures: int
    tools: int
    operations: tuple[int, int]
    rows: int
    documentation: int
    plain: bool


LEVELS = {
    "lite": WorldLevel("lite", 0, 5, 0, 1, 320, (3, 5), 6, 0, plain=True),
    "standard": WorldLevel("standard", 1, 8, 1, 2, 800, (4, 8), 15, 1, plain=False),
    "full": WorldLevel("full", 2, 12, 2, 2, 1400, (5, 10), 25, 2, plain=False),
}


def level_of(name: str) -> WorldLevel:
    """Return the level called `name`. Raises `ConfigurationError` for an unknown one."""
    if name not in LEVELS:
        raise ConfigurationError(f"level: {name!r} is not a level of ToolWorld; use one of {', '.join(LEVELS)}")
    return LEVELS[name]
