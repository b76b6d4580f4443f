"""How large and how wordy a world is: `lite`, `standard` or `full`."""

from __future__ import annotations

from dataclasses import dataclass

from toolserver.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Level:
    """One level.

    Attributes:
        name: `lite`, `standard` or `full`.
        size: Which of an entity type's three row counts holds.
        detail: Attributes that a details operation shows (the first ones).
        brief: Attributes beside id and name in the rows of a list.
        measures: Measures per entity type that get ranking, comparing, averaging and looking up of their own.
        tools: Vendors per world by default.
        operations: Operations dealt to a vendor, before the searches that its inputs call for.
        rows: Most rows that an answer shows without paging.
        documentation: How wordy the documentation is: 0 one clause, 1 a sentence or two, 2 as long as RapidAPI's.
        plain: Whether vendors keep to metric units, ISO dates and flat answers.
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
    "lite": Level("lite", 0, 5, 0, 1, 320, (3, 5), 6, 0, plain=True),
    "standard": Level("standard", 1, 8, 1, 2, 800, (4, 8), 15, 1, plain=False),
    "full": Level("full", 2, 12, 2, 2, 1400, (5, 10), 25, 2, plain=False),
}


def level_of(name: str) -> Level:
    """The level called `name`. Raises `ConfigurationError`, naming the valid ones."""
    if name not in LEVELS:
        raise ConfigurationError(f"level: {name!r} is no level of ToolWorld; use one of {', '.join(LEVELS)}")
    return LEVELS[name]
