"""Rail: stations, trains and train tickets."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create
from toolserver.world.schema import Attribute, Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, FLAG, MINUTES, MONEY, PERCENT, SPEED, TIME, YEAR, id_of, name_of

STATION = EntityType(
    "rail_station", "rail stations", "rail station", "RS", (40, 110, 260),
    (
        col.named("rail_station", names.station, "name", "station", "station_name"),
        col.measure("platforms", COUNT, col.integers(2, 26), "number of platforms", "platform_count", "tracks"),
        col.link("city"),
        col.measure("riders", COUNT, col.integers(2_000, 480_000), "passengers per day", "daily_riders", "footfall"),
        col.plain("opened", YEAR, col.integers(1838, 2024), "year of opening", "since", "established"),
        col.plain("accessible", FLAG, col.flags(0.7), "step-free access", "step_free", "wheelchair_access"),
    ),
)  # fmt: skip
TRAIN = EntityType(
    "train", "trains", "train", "TR", (120, 400, 1000),
    (
        Attribute("number", name_of("train"), col.coded("A0000"), "train number", ("train", "train_number", "service")),
        col.measure("price", MONEY, col.prices(6, 180), "fare", "fare", "ticket_price", volatile=True),
        col.link("rail_station", "origin_id", "departure station", None, "from_id", "departure_station"),
        col.link("rail_station", "destination_id", "arrival station", col.other_reference("rail_station", "origin_id"),
             "to_id", "arrival_station"),
        col.plain("date", DATE, col.days(1, 30), "date", "travel_date", "day"),
        col.measure("seats_left", COUNT, col.integers(0, 90), "number of free seats", "available_seats", "seats",
                    volatile=True),
        col.measure("duration", MINUTES, col.integers(15, 540), "journey time", "travel_time", "length"),
        col.plain("departure", TIME, col.times(5, 23), "departure time", "departs", "leaves_at"),
        col.plain("top_speed", SPEED, col.integers(90, 320, 10), "top speed", "max_speed", "speed"),
        col.choices("service", ("express", "intercity", "night", "regional"), "kind of service", "type",
                    kind="train_kind"),
    ),
)  # fmt: skip
TICKET = EntityType(
    "rail_ticket", "train tickets", "train ticket", "RT", (40, 100, 250),
    (
        col.record("rail_ticket", "traveller", "traveller_name", "passenger"),
        col.link("train"),
        col.plain("seats", COUNT, col.integers(1, 5), "number of seats", "seat_count", "quantity"),
        col.status(),
        col.plain("total", MONEY, col.prices(8, 600), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(TRAIN, TICKET, "seats", "traveller", stock="seats_left", price="price")


def _railcard(given: FormulaInputs) -> dict[str, float]:
    price = given.row("train", "train_id")["price"]
    return {"reduced": round(price * (100 - given.values["discount"]) / 100, 2)}


RAIL = Domain(
    "rail", "Transportation", (STATION, TRAIN, TICKET),
    (
        create("train.book", _SALE, "Book seats on a train", "book train", "buy train ticket", "reserve train seats"),
        cancel("rail_ticket.cancel", _SALE, "Cancel a train ticket",
               "cancel train ticket", "refund train ticket", "delete train booking"),
        compute("train.reduced_fare",
                {"train_id": Slot(id_of("train"), "id of the train", aka=("train", "service_id")),
                 "discount": Slot(PERCENT, "discount in percent", aka=("percent", "reduction"), low=0, high=100)},
                {"reduced": (MONEY, "reduced fare")}, _railcard, "Fare of a train after a discount",
                "reduced fare", "railcard price", "discounted fare"),
    ),
    ("Rail", "Train", "Track", "Transit", "Metro", "Line"),
)  # fmt: skip
