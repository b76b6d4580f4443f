"""Domains of the world, one module each in a folder per field: tables of entity types, and special operations on them.

To add a domain, write a module with a `Domain` in the folder of its field: entity types (unique id prefix, rows per
level, attributes from left to right, first the name of a row), references to rows of other domains, and words for
vendors' names that no other domain has. Set `since` to the next version of the world and append the domain to
`DOMAINS`; older versions do not change. Operations that search, show, list, rank, compare and average follow from the
tables. Define others with `compute` (values from values) and with `create`, `cancel` and `update` (changes of the
world).
"""

from toolserver.world.domains.business.companies import COMPANIES
from toolserver.world.domains.business.finance import FINANCE
from toolserver.world.domains.business.logistics import LOGISTICS
from toolserver.world.domains.business.shopping import SHOPPING
from toolserver.world.domains.leisure.events import EVENTS
from toolserver.world.domains.leisure.films import FILMS
from toolserver.world.domains.leisure.food import FOOD
from toolserver.world.domains.leisure.music import MUSIC
from toolserver.world.domains.leisure.sports import SPORTS
from toolserver.world.domains.public_services.clinics import CLINICS
from toolserver.world.domains.public_services.education import EDUCATION
from toolserver.world.domains.travel.flights import FLIGHTS
from toolserver.world.domains.travel.hotels import HOTELS
from toolserver.world.domains.travel.places import PLACES
from toolserver.world.domains.travel.rail import RAIL
from toolserver.world.domains.travel.weather import WEATHER
from toolserver.world.schema import Domain

DOMAINS: tuple[Domain, ...] = (
    PLACES,
    WEATHER,
    FLIGHTS,
    RAIL,
    HOTELS,
    FINANCE,
    COMPANIES,
    FILMS,
    MUSIC,
    SPORTS,
    EDUCATION,
    FOOD,
    SHOPPING,
    EVENTS,
    CLINICS,
    LOGISTICS,
)

__all__ = ["DOMAINS"]
