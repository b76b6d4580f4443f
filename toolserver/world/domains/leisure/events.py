"""Events: venues, events and event tickets."""

from toolserver.world.calendar import WEEKDAYS, offset_of, weekday
from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, DAYS, MONEY, TIME, YEAR, id_of, one_of

_KINDS = ("art", "business", "family", "film", "food", "music", "sport", "technology")

VENUE = EntityType(
    "venue", "venues", "venue", "V", (40, 100, 240),
    (
        col.named("venue", names.venue, "name", "venue", "hall"),
        col.measure("capacity", COUNT, col.integers(40, 42_000), "capacity", "max_guests", "size"),
        col.link("city"),
        col.measure("hire", MONEY, col.prices(80, 9000), "hire price per day", "rental_price", "hire_fee",
                    volatile=True),
        col.plain("built", YEAR, col.integers(1790, 2028), "year of construction", "year_built", "constructed"),
    ),
)  # fmt: skip
EVENT = EntityType(
    "event", "events", "event", "E", (108, 280, 720),
    (
        col.named("event", names.event, "name", "event", "title"),
        col.measure("price", MONEY, col.prices(5, 320), "ticket price", "ticket_price", "admission", volatile=True),
        col.link("venue"),
        col.plain("date", DATE, col.days(1, 30), "date", "event_date", "day"),
        col.measure("tickets_left", COUNT, col.integers(0, 120), "number of tickets left", "available_tickets",
                    "remaining", volatile=True),
        col.plain("starts", TIME, col.times(9, 22), "start time", "start_time", "begins"),
        col.choices("kind", _KINDS, "kind of event", "type", "category", kind="event_kind"),
        col.measure("visitors", COUNT, col.integers(30, 60_000), "expected visitors", "attendance",
                    "expected_attendance"),
    ),
)  # fmt: skip
TICKET = EntityType(
    "event_ticket", "event tickets", "event ticket", "ET", (40, 100, 240),
    (
        col.record("event_ticket", "visitor", "visitor_name", "holder"),
        col.link("event"),
        col.plain("tickets", COUNT, col.integers(1, 4), "number of tickets", "ticket_count", "quantity"),
        col.status(),
        col.plain("total", MONEY, col.prices(5, 900), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(EVENT, TICKET, "tickets", "visitor", stock="tickets_left", price="price")


def _weekday(given: FormulaInputs) -> dict[str, str]:
    return {"weekday": weekday(given.values["date"])}


def _countdown(given: FormulaInputs) -> dict[str, int]:
    return {"days": offset_of(given.row("event", "event_id")["date"])}


EVENTS = Domain(
    "events", "Events", (VENUE, EVENT, TICKET),
    (
        create("event.book", _SALE, "Buy tickets for an event",
               "buy event tickets", "book event", "order event tickets"),
        cancel("event_ticket.cancel", _SALE, "Cancel an event ticket",
               "cancel event ticket", "refund event ticket", "return event tickets"),
        compute("calendar.weekday", {"date": Slot(DATE, "date", aka=("day", "on"))},
                {"weekday": (one_of("weekday", *WEEKDAYS), "day of the week")}, _weekday,
                "Day of the week of a date", "weekday of date", "day of week", "which weekday"),
        compute("event.countdown", {"event_id": Slot(id_of("event"), "id of the event", aka=("event", "event_code"))},
                {"days": (DAYS, "days until the event")}, _countdown, "Days from today until an event",
                "days until event", "event countdown", "time to event"),
    ),
    ("Event", "Gig", "Stage", "Venue", "Fest", "Show"),
)  # fmt: skip
