"""Places: countries, cities and landmarks, and the distance between cities."""

from collections.abc import Mapping
from math import asin, cos, radians, sin, sqrt
from typing import Any

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COORDINATE, COUNT, DISTANCE, HEIGHT, MINUTES, MONEY, RATING, SPEED, YEAR, id_of

_EARTH_RADIUS = 6371.0  # km
_CLIMATES = ("arid", "continental", "mediterranean", "oceanic", "polar", "tropical")
_KINDS = ("bridge", "castle", "museum", "park", "religious site", "tower")

COUNTRY = EntityType(
    "country", "countries", "country", "N", (12, 30, 60),
    (
        col.named("country", names.country, "name", "country", "country_name"),
        col.measure("area", COUNT, col.skewed(9_000, 4_000_000), "area in square kilometres", "area_km2", "surface"),
        col.link("currency"),
        col.measure("inhabitants", COUNT, col.skewed(300_000, 90_000_000), "number of inhabitants", "population"),
        col.choices("climate", _CLIMATES, "climate", "climate_zone"),
        col.plain("founded", YEAR, col.integers(1250, 1990), "year of foundation", "established", "founding_year"),
    ), digits=3,
)  # fmt: skip
CITY = EntityType(
    "city", "cities", "city", "C", (48, 120, 300),
    (
        col.named("city", names.city, "name", "city", "city_name"),
        col.measure("population", COUNT, col.skewed(15_000, 9_000_000), "population", "inhabitants", "residents"),
        col.link("country"),
        col.measure("elevation", HEIGHT, col.integers(1, 2400), "elevation", "altitude", "height"),
        col.plain("founded", YEAR, col.integers(620, 1930), "year of foundation", "established", "founding_year"),
        col.plain("latitude", COORDINATE, col.numbers(-60, 60, 3), "latitude", "lat"),
        col.plain("longitude", COORDINATE, col.numbers(-180, 180, 3), "longitude", "lon", "lng"),
    ),
)  # fmt: skip
LANDMARK = EntityType(
    "landmark", "landmarks", "landmark", "L", (96, 240, 600),
    (
        col.named("landmark", names.landmark, "name", "landmark", "attraction"),
        col.measure("height", HEIGHT, col.integers(6, 320), "height", "height_m", "tallness"),
        col.link("city"),
        col.measure("entry_fee", MONEY, col.prices(2, 60), "entry fee", "ticket_price", "admission", volatile=True),
        col.plain("built", YEAR, col.integers(1100, 2025), "year of construction", "year_built", "constructed"),
        col.choices("kind", _KINDS, "kind of landmark", "type", "category", kind="landmark_kind"),
        col.measure("rating", RATING, col.numbers(2.0, 5.0, 1), "visitor rating", "stars", "score", volatile=True),
    ),
)  # fmt: skip


def kilometres(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the great-circle distance of two cities in km, to one decimal (haversine formula)."""
    north, south = radians(one["latitude"]), radians(other["latitude"])
    east = radians(other["longitude"] - one["longitude"])
    chord = sin((south - north) / 2) ** 2 + cos(north) * cos(south) * sin(east / 2) ** 2
    return round(2 * _EARTH_RADIUS * asin(sqrt(chord)), 1)


def _distance(given: FormulaInputs) -> dict[str, Any]:
    return {"distance": kilometres(given.row("city", "origin_id"), given.row("city", "destination_id"))}


def _travel_time(given: FormulaInputs) -> dict[str, Any]:
    return {"duration": round(60 * given.values["distance"] / given.values["speed"])}


_BETWEEN = {
    "origin_id": Slot(id_of("city"), "id of the city to start from", aka=("from", "start", "origin")),
    "destination_id": Slot(id_of("city"), "id of the city to go to", aka=("to", "end", "destination")),
}
_AT_SPEED = {
    "distance": Slot(DISTANCE, "distance to cover", aka=("length", "dist"), low=0),
    "speed": Slot(SPEED, "average speed", aka=("velocity", "pace"), low=1, high=40_000),
}

PLACES = Domain(
    "places", "Geography", (COUNTRY, CITY, LANDMARK),
    (
        compute(
            "city.distance", _BETWEEN, {"distance": (DISTANCE, "distance between the cities")}, _distance,
            "Distance between two cities", "distance between cities", "city distance", "route length",
        ),
        compute(
            "travel.time", _AT_SPEED, {"duration": (MINUTES, "travel time")}, _travel_time,
            "Time to cover a distance at a speed", "travel time", "estimate duration", "journey time",
        ),
    ),
    ("Atlas", "Geo", "Place", "Map", "Globe", "City"),
)  # fmt: skip
