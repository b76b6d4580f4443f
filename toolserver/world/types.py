"""Semantic types of several domains, and constructors for ids, names and enumerations."""

from __future__ import annotations

from functools import cache

from toolserver.world.schema import Kind, SemanticType

COUNT = SemanticType("count", Kind.INTEGER)
YEAR = SemanticType("year", Kind.INTEGER)
RATING = SemanticType("rating", Kind.NUMBER, decimals=1)
PERCENT = SemanticType("percent", Kind.NUMBER, unit="%", decimals=1)
FACTOR = SemanticType("factor", Kind.NUMBER, decimals=4)
MONEY = SemanticType("money", Kind.NUMBER, unit="USD", decimals=2)
FOREIGN_MONEY = SemanticType("foreign_money", Kind.NUMBER, decimals=2)
COORDINATE = SemanticType("coordinate", Kind.NUMBER, decimals=3)
DISTANCE = SemanticType("distance", Kind.NUMBER, unit="km", decimals=1)
HEIGHT = SemanticType("height", Kind.INTEGER, unit="m")
MASS = SemanticType("mass", Kind.NUMBER, unit="kg", decimals=2)
GRAMS = SemanticType("grams", Kind.INTEGER, unit="g")
TEMPERATURE = SemanticType("temperature", Kind.NUMBER, unit="C", decimals=1)
RAINFALL = SemanticType("rainfall", Kind.NUMBER, unit="mm", decimals=1)
SPEED = SemanticType("speed", Kind.INTEGER, unit="km/h")
ENERGY = SemanticType("energy", Kind.INTEGER, unit="kcal")
MINUTES = SemanticType("minutes", Kind.INTEGER, unit="min")
DAYS = SemanticType("days", Kind.INTEGER, unit="days")
DATE = SemanticType("date", Kind.DATE)
TIME = SemanticType("time", Kind.TIME)
FLAG = SemanticType("flag", Kind.BOOLEAN)
PERSON = SemanticType("person", Kind.TEXT)
TEXT = SemanticType("text", Kind.TEXT)
TOKEN = SemanticType("token", Kind.TEXT)
PAGE = SemanticType("page", Kind.INTEGER)
STATUS = SemanticType("booking_status", Kind.ENUM, values=("active", "cancelled"))
ORDER = SemanticType("sort_order", Kind.ENUM, values=("descending", "ascending"))


@cache
def id_of(entity: str) -> SemanticType:
    """Return the type of the ids of an entity type, e.g. `city_id`."""
    return SemanticType(f"{entity}_id", Kind.ID, entity=entity)


@cache
def name_of(entity: str) -> SemanticType:
    """Return the type of the names of an entity type, e.g. `city_name`."""
    return SemanticType(f"{entity}_name", Kind.TEXT, entity=entity)


@cache
def one_of(name: str, *values: str) -> SemanticType:
    """Return an enumeration type."""
    return SemanticType(name, Kind.ENUM, values=values)
