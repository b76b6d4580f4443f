"""Versions of the world: `make_world` gives a world of one version the domains that this version has."""

from __future__ import annotations

from collections.abc import Iterable

from toolserver.errors import ConfigurationError
from toolserver.world.domains import DOMAINS
from toolserver.world.schema import Domain
from toolserver.world.world import World

WORLD_VERSION = 1
"""Version of a world for which no version is given. A new domain does not change it."""


def make_world(
    seed: int = 0, level: str = "lite", version: int = WORLD_VERSION, domains: Iterable[Domain] = DOMAINS
) -> World:
    """Make the world of a seed, level and version.

    Args:
        seed: Integer in 0..2**63-1.
        level: `lite`, `standard` or `full`.
        version: Version of the world: it has the domains with `since` up to this version.
        domains: All known domains.

    Raises:
        ConfigurationError: The seed or the level is invalid, or no domain introduced such a version.
    """
    known = tuple(domains)
    newest = max(domain.since for domain in known)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= newest:
        raise ConfigurationError(f"world_version: {version!r} is not a version of ToolWorld; use 1 to {newest}")
    return World(seed, level, tuple(domain for domain in known if domain.since <= version), version)
