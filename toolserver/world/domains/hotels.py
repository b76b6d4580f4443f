"""Hotels and their reservations."""

from __future__ import annotations

from toolserver.world.generators import names
from toolserver.world.generators.columns import (
    choices,
    days,
    flags,
    integers,
    link,
    measure,
    named,
    numbers,
    plain,
    prices,
    record,
    status,
    times,
)
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType
from toolserver.world.types import COUNT, DATE, FLAG, MONEY, RATING, TIME

_STYLES = ("boutique", "budget", "business", "family", "luxury")

HOTEL = EntityType(
    "hotel", "hotels", "hotel", "H", (96, 240, 600),
    (
        named("hotel", names.hotel, "name", "hotel", "hotel_name", "property"),
        measure("price", MONEY, prices(40, 420), "price per night", "rate", "nightly_rate", volatile=True),
        link("city"),
        measure("rating", RATING, numbers(1.5, 5.0, 1), "guest rating", "score", "stars", volatile=True),
        measure("rooms_left", COUNT, integers(0, 30), "number of free rooms", "vacancies", "available", volatile=True),
        choices("style", _STYLES, "style", "type", kind="hotel_style"),
        plain("check_in", TIME, times(13, 16), "check-in time", "arrival_time", "checkin"),
        plain("pets_allowed", FLAG, flags(0.4), "pet policy", "pets", "pet_friendly"),
    ),
)  # fmt: skip
RESERVATION = EntityType(
    "reservation", "reservations", "hotel reservation", "R", (40, 100, 250),
    (
        record("reservation", "guest", "guest_name", "customer"),
        link("hotel"),
        plain("date", DATE, days(1, 30), "arrival date", "arrival", "check_in_date"),
        plain("rooms", COUNT, integers(1, 3), "number of rooms", "room_count", "quantity"),
        status(),
        plain("total", MONEY, prices(60, 1200), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale("hotel", "reservation", "rooms", "guest", stock="rooms_left", price="price", chosen=("date",))

HOTELS = Domain(
    "hotels", "Travel", (HOTEL, RESERVATION),
    (
        create("hotel.book", _SALE, HOTEL, RESERVATION, "Book rooms in a hotel",
               "book hotel", "reserve room", "create reservation", domain="hotels"),
        cancel("reservation.cancel", _SALE, HOTEL, RESERVATION, "Cancel a hotel reservation",
               "cancel reservation", "cancel stay", "delete reservation", domain="hotels"),
        update("reservation.move", RESERVATION, "date", "Move a hotel reservation to another date",
               "change reservation date", "reschedule stay", "update reservation", domain="hotels"),
    ),
    ("Stay", "Hotel", "Room", "Lodge", "Inn", "Suite"),
)  # fmt: skip
