"""Hotels and their reservations."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType
from toolserver.world.types import COUNT, DATE, FLAG, MONEY, RATING, TIME

_STYLES = ("boutique", "budget", "business", "family", "luxury")

HOTEL = EntityType(
    "hotel", "hotels", "hotel", "H", (96, 240, 600),
    (
        col.named("hotel", names.hotel, "name", "hotel", "hotel_name", "property"),
        col.measure("price", MONEY, col.prices(40, 420), "price per night", "rate", "nightly_rate", volatile=True),
        col.link("city"),
        col.measure("rating", RATING, col.numbers(1.5, 5.0, 1), "guest rating", "score", "stars", volatile=True),
        col.measure("rooms_left", COUNT, col.integers(0, 30), "number of free rooms", "vacancies", "available",
                    volatile=True),
        col.choices("style", _STYLES, "style", "type", kind="hotel_style"),
        col.plain("check_in", TIME, col.times(13, 16), "check-in time", "arrival_time", "checkin"),
        col.plain("pets_allowed", FLAG, col.flags(0.4), "pet policy", "pets", "pet_friendly"),
    ),
)  # fmt: skip
RESERVATION = EntityType(
    "reservation", "reservations", "hotel reservation", "R", (40, 100, 250),
    (
        col.record("reservation", "guest", "guest_name", "customer"),
        col.link("hotel"),
        col.plain("date", DATE, col.days(1, 30), "arrival date", "arrival", "check_in_date"),
        col.plain("rooms", COUNT, col.integers(1, 3), "number of rooms", "room_count", "quantity"),
        col.status(),
        col.plain("total", MONEY, col.prices(60, 1200), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(HOTEL, RESERVATION, "rooms", "guest", stock="rooms_left", price="price", chosen=("date",))

HOTELS = Domain(
    "hotels", "Travel", (HOTEL, RESERVATION),
    (
        create("hotel.book", _SALE, "Book rooms in a hotel", "book hotel", "reserve room", "create reservation"),
        cancel("reservation.cancel", _SALE, "Cancel a hotel reservation",
               "cancel reservation", "cancel stay", "delete reservation"),
        update("reservation.move", RESERVATION, "date", "Move a hotel reservation to another date",
               "change reservation date", "reschedule stay", "update reservation"),
    ),
    ("Stay", "Hotel", "Room", "Lodge", "Inn", "Suite"),
)  # fmt: skip
