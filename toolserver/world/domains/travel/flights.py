"""Flights: airlines, airports, flights and tickets."""

from collections.abc import Mapping
from typing import Any

from toolserver.world.changes import Changes
from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.operations.result_rows import id_output, output, row_maker
from toolserver.world.schema import Answer, Attribute, Domain, EntityType, Operation, OperationKind, Slot, WorldView
from toolserver.world.types import COUNT, DATE, HEIGHT, MINUTES, MONEY, RATING, TIME, YEAR, id_of, name_of

AIRLINE = EntityType(
    "airline", "airlines", "airline", "AL", (12, 30, 70),
    (
        col.named("airline", names.airline, "name", "airline", "carrier"),
        col.measure("fleet", COUNT, col.integers(4, 420), "fleet size", "aircraft", "planes"),
        col.link("country"),
        col.measure("punctuality", RATING, col.numbers(1.0, 5.0, 1), "punctuality rating", "on_time_score",
                    "reliability", volatile=True),
        col.plain("founded", YEAR, col.integers(1928, 2026), "year of foundation", "established", "since"),
        col.choices("alliance", ("none", "blue ring", "sky union", "world wings"), "alliance", "group"),
    ),
)  # fmt: skip
AIRPORT = EntityType(
    "airport", "airports", "airport", "AP", (24, 70, 160),
    (
        col.named("airport", names.airport, "name", "airport", "airport_name"),
        col.measure("runways", COUNT, col.integers(1, 6), "number of runways", "runway_count", "landing_strips"),
        col.link("city"),
        col.measure("passengers", COUNT, col.integers(90_000, 60_000_000), "passengers per year", "yearly_passengers",
                    "traffic"),
        col.plain("elevation", HEIGHT, col.integers(0, 2300), "elevation", "altitude", "height"),
        col.plain("opened", YEAR, col.integers(1919, 2024), "year of opening", "since", "established"),
    ),
)  # fmt: skip
FLIGHT = EntityType(
    "flight", "flights", "flight", "F", (144, 500, 1400),
    (
        Attribute("number", name_of("flight"), col.coded("AA000"), "flight number",
                  ("flight", "flight_number", "code")),
        col.measure("price", MONEY, col.prices(49, 980), "fare", "fare", "ticket_price", volatile=True),
        col.link("airport", "origin_id", "departure airport", None, "from_id", "departure_airport"),
        col.link("airport", "destination_id", "arrival airport", col.other_reference("airport", "origin_id"),
             "to_id", "arrival_airport"),
        col.plain("date", DATE, col.days(1, 30), "date", "departure_date", "day"),
        col.measure("seats_left", COUNT, col.integers(0, 40), "number of free seats", "available_seats", "seats",
                    volatile=True),
        col.measure("duration", MINUTES, col.integers(45, 840, 5), "duration", "flight_time", "length"),
        col.plain("departure", TIME, col.times(5, 22), "departure time", "departs", "takeoff"),
        col.link("airline"),
    ),
)  # fmt: skip
TICKET = EntityType(
    "ticket", "flight tickets", "flight ticket", "T", (40, 100, 250),
    (
        col.record("ticket", "passenger", "passenger_name", "traveller"),
        col.link("flight"),
        col.plain("seats", COUNT, col.integers(1, 4), "number of seats", "seat_count", "quantity"),
        col.status(),
        col.plain("total", MONEY, col.prices(60, 2400), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(FLIGHT, TICKET, "seats", "passenger", stock="seats_left", price="price")
_SHOWN = ("number", "date", "departure", "price")
_OUTPUTS = {"flight_id": id_output(FLIGHT)} | {name: output(FLIGHT, FLIGHT.attribute(name)) for name in _SHOWN}
_ROWS_OF = row_maker(FLIGHT, _OUTPUTS)
_BETWEEN = {
    "origin_id": Slot(id_of("airport"), "id of the departure airport", aka=("from", "departure")),
    "destination_id": Slot(id_of("airport"), "id of the arrival airport", aka=("to", "arrival")),
}


def _between(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
    for name in _BETWEEN:
        world.need("airport", values[name], changes)
    leaving = world.where("flight", "origin_id", values["origin_id"], changes)
    ids = [i for i in leaving if world.need("flight", i, changes)["destination_id"] == values["destination_id"]]
    return _ROWS_OF(world, ids, changes), changes


FLIGHTS = Domain(
    "flights", "Flights", (AIRLINE, AIRPORT, FLIGHT, TICKET),
    (
        Operation("flight.between", OperationKind.RELATED, "flight", _BETWEEN, _OUTPUTS, _between,
                  parent="airport", many=True, phrase="Flights from one airport to another",
                  verbs=("flights between airports", "find route", "direct flights")),
        create("flight.book", _SALE, "Book seats on a flight",
               "book flight", "buy flight ticket", "reserve flight seats"),
        cancel("ticket.cancel", _SALE, "Cancel a flight ticket",
               "cancel flight ticket", "refund ticket", "delete flight booking"),
        update("flight.rename", TICKET, "passenger", "Put a flight ticket in another passenger's name",
               "change passenger", "rename ticket", "update passenger"),
    ),
    ("Fly", "Jet", "Wing", "Airfare", "Aero", "Flight"),
)  # fmt: skip
