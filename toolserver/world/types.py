"""Semantic types of several domains, and constructors for ids, names and enumerations."""

from functools import cache

from toolserver.world.schema import SemanticType, ValueKind

COUNT = SemanticType("count", ValueKind.INTEGER)
YEAR = SemanticType("year", ValueKind.INTEGER)
RATING = SemanticType("rating", ValueKind.NUMBER, decimals=1)
PERCENT = SemanticType("percent", ValueKind.NUMBER, unit="%", decimals=1)
FACTOR = SemanticType("factor", ValueKind.NUMBER, decimals=4)
MONEY = SemanticType("money", ValueKind.NUMBER, unit="USD", decimals=2)
FOREIGN_MONEY = SemanticType("foreign_money", ValueKind.NUMBER, decimals=2)
COORDINATE = SemanticType("coordinate", ValueKind.NUMBER, decimals=3)
DISTANCE = SemanticType("distance", ValueKind.NUMBER, unit="km", decimals=1)
HEIGHT = SemanticType("height", ValueKind.INTEGER, unit="m")
MASS = SemanticType("mass", ValueKind.NUMBER, unit="kg", decimals=2)
GRAMS = SemanticType("grams", ValueKind.INTEGER, unit="g")
TEMPERATURE = SemanticType("temperature", ValueKind.NUMBER, unit="C", decimals=1)
RAINFALL = SemanticType("rainfall", ValueKind.NUMBER, unit="mm", decimals=1)
SPEED = SemanticType("speed", ValueKind.INTEGER, unit="km/h")
ENERGY = SemanticType("energy", ValueKind.INTEGER, unit="kcal")
MINUTES = SemanticType("minutes", ValueKind.INTEGER, unit="min")
DAYS = SemanticType("days", ValueKind.INTEGER, unit="days")
DATE = SemanticType("date", ValueKind.DATE)
TIME = SemanticType("time", ValueKind.TIME)
FLAG = SemanticType("flag", ValueKind.BOOLEAN)
PERSON = SemanticType("person", ValueKind.TEXT)
TEXT = SemanticType("text", ValueKind.TEXT)
TOKEN = SemanticType("token", ValueKind.TEXT)
PAGE = SemanticType("page", ValueKind.INTEGER)
STATUS = SemanticType("booking_status", ValueKind.ENUM, values=("active", "cancelled"))
ORDER = SemanticType("sort_order", ValueKind.ENUM, values=("descending", "ascending"))


@cache
def id_of(entity: str) -> SemanticType:
    """Return the type of the ids of an entity type, e.g. `city_id`."""
    return SemanticType(f"{entity}_id", ValueKind.ID, entity=entity)


@cache
def name_of(entity: str) -> SemanticType:
    """Return the type of the names of an entity type, e.g. `city_name`."""
    return SemanticType(f"{entity}_name", ValueKind.TEXT, entity=entity)


@cache
def one_of(name: str, *values: str) -> SemanticType:
    """Return an enumeration type."""
    return SemanticType(name, ValueKind.ENUM, values=values)
