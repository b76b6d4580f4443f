"""Weather: stations and warnings as tables, and the weather of a city on a day, generated from the seed."""

from collections.abc import Mapping
from typing import Any

from toolserver.catalog.api_schema import Outcome
from toolserver.world import calendar
from toolserver.world.changes import Changes
from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.schema import (
    Answer,
    Domain,
    EntityType,
    Operation,
    OperationKind,
    Output,
    Refusal,
    Row,
    Slot,
    WorldView,
)
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.types import COUNT, DATE, DAYS, HEIGHT, PERCENT, RAINFALL, SPEED, TEMPERATURE, YEAR, id_of, one_of

_LONGEST = 7  # days of a forecast
_SKIES = ("clear", "cloudy", "fog", "rain", "snow", "thunderstorm")
_FREEZING = 1.0  # degrees: below, rain falls as snow

STATION = EntityType(
    "weather_station", "weather stations", "weather station", "WS", (60, 150, 360),
    (
        col.named("weather_station", names.landmark, "name", "station", "station_name"),
        col.measure("record_high", TEMPERATURE, col.numbers(18, 49, 1), "record high temperature", "max_temp",
                    "all_time_high"),
        col.link("city"),
        col.measure("elevation", HEIGHT, col.integers(0, 2600), "elevation", "altitude", "height"),
        col.measure("annual_rain", RAINFALL, col.numbers(60, 2400, 1), "rain per year", "yearly_rainfall",
                    "precipitation"),
        col.plain("opened", YEAR, col.integers(1860, 2020), "year of opening", "since", "established"),
        col.plain("humidity", PERCENT, col.numbers(15, 95, 1), "average humidity", "mean_humidity", "rh"),
    ),
)  # fmt: skip
WARNING = EntityType(
    "warning", "weather warnings", "weather warning", "WA", (40, 100, 240),
    (
        col.named("warning", names.title, "title", "headline", "warning"),
        col.choices("severity", ("advisory", "watch", "severe", "extreme"), "severity", "level"),
        col.link("city"),
        col.plain("until", DATE, col.days(0, 12), "end date", "expires", "valid_until"),
        col.measure("wind", SPEED, col.integers(30, 190), "expected wind speed", "wind_speed", "gusts"),
        col.choices("hazard", ("flood", "frost", "heat", "storm", "wildfire"), "hazard", "type"),
    ),
)  # fmt: skip


def day_of(world: WorldView, city_id: str, date: str, changes: Changes) -> dict[str, Any]:
    """Return the weather of a city on a date. Raises `Refusal` for a date outside the calendar's horizon."""
    city = world.need("city", city_id, changes)
    offset = calendar.offset_of(date)
    if abs(offset) > calendar.HORIZON:
        span = f"{calendar.day(-calendar.HORIZON)} to {calendar.day(calendar.HORIZON)}"
        raise Refusal(Outcome.NOT_FOUND, f"No weather for {date}; data covers {span}.")
    draw = SeededRandom(world.seed, "weather", city_id, offset)
    # Temperature falls with latitude and elevation; the rest is random.
    warmth = 31 - 0.45 * abs(city["latitude"]) - 0.006 * city["elevation"]
    temperature = round(warmth + 12 * draw.unit() - 6, 1)
    sky = draw.pick(_SKIES[:-2]) if draw.chance(0.8) else _SKIES[-1]
    rain = round(0.2 + 24 * draw.unit(), 1) if sky in ("rain", "thunderstorm") else 0.0
    if sky == "rain" and temperature < _FREEZING:
        sky = "snow"
    return {"temperature": temperature, "sky": sky, "rain": rain, "wind": draw.between(2, 85)}


_CITY = Slot(id_of("city"), "id of the city", aka=("city", "place_id", "location"))
_DATE = Slot(DATE, "date", aka=("day", "on"))
_SPAN = Slot(DAYS, "number of days from today", False, 3, ("period", "length"), low=1, high=_LONGEST)


def _out(kind: Any, name: str, label: str, *aka: str) -> Output:
    return Output(kind, f"weather.{name}", label, aka)


_OUTPUTS = {
    "temperature": _out(TEMPERATURE, "temperature", "temperature", "temp", "high"),
    "sky": _out(one_of("sky", *_SKIES), "sky", "sky condition", "condition", "summary"),
    "rain": _out(RAINFALL, "rain", "amount of rain", "rainfall", "precipitation"),
    "wind": _out(SPEED, "wind", "wind speed", "wind_speed", "gust"),
}
_DATED = {"date": _out(DATE, "date", "date", "day")} | _OUTPUTS


def _row(city_id: str, date: str, values: Mapping[str, Any], names_: Mapping[str, Output]) -> Row:
    return Row(f"{city_id}@{date}", {name: date if name == "date" else values[name] for name in names_})


def _on(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
    city_id, date = values["city_id"], values["date"]
    return [_row(city_id, date, day_of(world, city_id, date, changes), _OUTPUTS)], changes


def _days(world: WorldView, values: Mapping[str, Any], changes: Changes) -> list[tuple[str, dict[str, Any]]]:
    dates = [calendar.day(offset) for offset in range(values["days"])]
    return [(date, day_of(world, values["city_id"], date, changes)) for date in dates]


def _forecast(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
    return [_row(values["city_id"], date, day, _DATED) for date, day in _days(world, values, changes)], changes


_WARMEST = {name: _DATED[name] for name in ("date", "temperature")}


def _warmest(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
    date, day = max(_days(world, values, changes), key=lambda each: each[1]["temperature"])
    return [_row(values["city_id"], date, day, _WARMEST)], changes


_RAINY = {"rainy_days": Output(COUNT, "weather.rainy_days", "number of rainy days", ("wet_days",), derived=True)}


def _rainy(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
    wet = sum(day["rain"] > 0 for _, day in _days(world, values, changes))
    return [Row("", {"rainy_days": wet})], changes


WEATHER = Domain(
    "weather", "Weather", (STATION, WARNING),
    (
        Operation("weather.on", OperationKind.COMPUTE, "weather", {"city_id": _CITY, "date": _DATE},
                  _OUTPUTS, _on, parent="city", phrase="Weather of a city on a date",
                  verbs=("weather on date", "daily weather", "get weather")),
        Operation("weather.forecast", OperationKind.COMPUTE, "weather", {"city_id": _CITY, "days": _SPAN},
                  _DATED, _forecast, parent="city", many=True, phrase="Forecast of a city for the next days",
                  verbs=("forecast", "weather forecast", "get forecast")),
        Operation("weather.warmest_day", OperationKind.COMPUTE, "weather", {"city_id": _CITY, "days": _SPAN},
                  _WARMEST, _warmest, parent="city", phrase="Warmest of the next days in a city",
                  verbs=("warmest day", "find warmest day", "best day")),
        Operation("weather.rainy_days", OperationKind.COMPUTE, "weather", {"city_id": _CITY, "days": _SPAN},
                  _RAINY, _rainy, parent="city", phrase="Number of rainy days ahead in a city",
                  verbs=("rainy days", "count rainy days", "rain outlook")),
    ),
    ("Weather", "Sky", "Storm", "Climate", "Meteo", "Cloud"),
)  # fmt: skip
