"""All operations of a level: those derived from the tables' shapes, and those that domains write by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from toolserver.world import finding, ranking
from toolserver.world.domains import DOMAINS
from toolserver.world.levels import LEVELS, Level
from toolserver.world.schema import Domain, EntityType, Operation


def operations_of(level: Level) -> dict[str, Operation]:
    """Every operation by name, domain by domain; the same dictionary for every world of a level."""
    return _operations(level.name)


@cache
def _operations(level: str) -> dict[str, Operation]:
    types = {entity.name: entity for domain in DOMAINS for entity in domain.entities}
    return {each.name: each for domain in DOMAINS for each in _of_domain(domain, LEVELS[level], types)}


def _of_domain(domain: Domain, level: Level, types: dict[str, EntityType]) -> Iterator[Operation]:
    for entity in domain.entities:
        yield from finding.search(entity, domain.name, level)
        yield from finding.details(entity, domain.name, level)
        yield from finding.related(entity, domain.name, level, types)
        if entity.record:
            continue
        yield from finding.lookups(entity, domain.name, level)
        yield from finding.lists(entity, domain.name, level)
        yield from ranking.ranks(entity, domain.name, level, types)
        yield from ranking.aggregates(entity, domain.name, level, types)
        yield from ranking.compares(entity, domain.name, level)
    yield from domain.operations
