"""Versions of the world: `make_world` selects the domains of a version."""

from functools import lru_cache

from toolserver.errors import ConfigurationError
from toolserver.world.domains import DOMAINS
from toolserver.world.schema import Domain
from toolserver.world.world import World

WORLD_VERSION = 1
"""Version of a world for which no version is given. A new domain does not change it."""


def make_world(
    seed: int = 0, level: str = "lite", version: int = WORLD_VERSION, domains: tuple[Domain, ...] = DOMAINS
) -> World:
    """Make the world of a seed, level and version.

    Args:
        seed: Integer in 0..2**63-1.
        level: `lite`, `standard` or `full`.
        version: Version of the world: it has the domains with `since` up to this version.
        domains: All known domains.

    Raises:
        ConfigurationError: The seed, level or version is invalid.
    """
    return World(seed, level, _domains_of(version, domains), version)


@lru_cache(maxsize=16, typed=True)
def _domains_of(version: int, domains: tuple[Domain, ...]) -> tuple[Domain, ...]:
    newest = max(domain.since for domain in domains)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= newest:
        known = "1" if newest == 1 else f"1 to {newest}"
        raise ConfigurationError(f"world_version: {version!r} is not a version of ToolWorld; use {known}")
    return tuple(domain for domain in domains if domain.since <= version)
