"""The domains of the world, one module each: tables of entity types, and the operations that are special to them."""

from toolserver.world.domains.finance import FINANCE
from toolserver.world.domains.hotels import HOTELS
from toolserver.world.domains.places import PLACES
from toolserver.world.schema import Domain

DOMAINS: tuple[Domain, ...] = (PLACES, FINANCE, HOTELS)

__all__ = ["DOMAINS"]
