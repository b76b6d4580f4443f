"""All operations of a level: those derived from the tables, and those that the domains define."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from toolserver.world.levels import WorldLevel
from toolserver.world.operations import aggregations, lookups
from toolserver.world.schema import Domain, EntityType, Operation


@cache
def operations_of(domains: tuple[Domain, ...], level: WorldLevel) -> dict[str, Operation]:
    """Return every operation by name, domain by domain. Worlds with the same domains and level share the result."""
    types = {entity.name: entity for domain in domains for entity in domain.entities}
    return {each.name: each for domain in domains for each in _of_domain(domain, level, types)}


def _of_domain(domain: Domain, level: WorldLevel, types: dict[str, EntityType]) -> Iterator[Operation]:
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
