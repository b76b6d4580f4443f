"""All operations of a level: those derived from the tables, and those that the domains define."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from toolserver.world.levels import WorldLevel
from toolserver.world.operations import aggregations, lookups
from toolserver.world.schema import Domain, EntityType, Operation


@cache
def operations_of(domains: tuple[Domain, ...], level: WorldLevel) -> dict[str, Operation]:
    """Return every operation by name, domain by domain. Worlds with the same domains and level share the result."""
    types = {entity.name: entity for domain in domains for entity in domain.entities}
    operations = ((domain, each) for domain in domains for each in _of_domain(domain, level, types))
    return {each.name: replace(each, domain=domain.name) for domain, each in operations}


def _of_domain(domain: Domain, level: WorldLevel, types: dict[str, EntityType]) -> Iterator[Operation]:
    for entity in domain.entities:
        yield from lookups.search(entity, level)
        yield from lookups.details(entity, level)
        yield from lookups.related(entity, level, types)
        if entity.record:
            continue
        yield from lookups.lookups(entity, level)
        yield from lookups.lists(entity, level)
        yield from aggregations.ranks(entity, level, types)
        yield from aggregations.aggregates(entity, level, types)
        yield from aggregations.compares(entity, level)
    yield from domain.operations
