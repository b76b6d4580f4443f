"""All operations of a level: those derived from the tables' shapes, and those that domains write by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from toolserver.world.domains import DOMAINS
from toolserver.world.levels import LEVELS, Level
from toolserver.world.operations import aggregations, lookups
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
        yield from lookups.search(entity, domain.name, level)
        yield from lookups.details(entity, domain.name, level)
        yield from lookups.related(entity, domain.name, level, types)
        if entity.record:
            continue
        yield from lookups.lookups(entity, domain.name, level)
        yield from lookups.lists(entity, domain.name, level)
        yield from aggregations.ranks(entity, domain.name, level, types)
        yield from aggregations.aggregates(entity, domain.name, level, types)
        yield from aggregations.compares(entity, domain.name, level)
    yield from domain.operations
