"""Logistics: carriers, depots, parcels and shipments."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Attribute, Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, DISTANCE, MASS, MINUTES, MONEY, PERCENT, RATING, id_of, name_of

_STATES = ("delivered", "in customs", "in transit", "out for delivery", "returned")

CARRIER = EntityType(
    "carrier", "carriers", "carrier", "CA", (14, 36, 90),
    (
        col.named("carrier", names.carrier, "name", "carrier", "company"),
        col.measure("base_fee", MONEY, col.prices(2, 40), "base fee", "minimum_charge", "start_price", volatile=True),
        col.link("country"),
        col.measure("rate", MONEY, col.numbers(0.4, 6.0, 2), "price per kg", "price_per_kg", "kg_rate", volatile=True),
        col.measure("vans", COUNT, col.integers(6, 4200), "number of vans", "fleet", "vehicles"),
        col.measure("rating", RATING, col.numbers(1.5, 5.0, 1), "rating", "score", "stars", volatile=True),
        col.plain("on_time", PERCENT, col.numbers(60, 99, 1), "share delivered on time", "punctuality",
                  "on_time_share"),
    ),
)  # fmt: skip
DEPOT = EntityType(
    "depot", "depots", "depot", "DP", (36, 90, 220),
    (
        col.named("depot", names.depot, "name", "depot", "hub"),
        col.measure("throughput", COUNT, col.integers(300, 90_000), "parcels per day", "daily_parcels", "volume"),
        col.link("city"),
        col.link("carrier"),
        col.measure("area", COUNT, col.integers(400, 60_000), "floor area in square metres", "floor_area", "area_m2"),
        col.plain("handling", MINUTES, col.integers(5, 180), "handling time", "processing_time", "dwell_time"),
    ),
)  # fmt: skip
PARCEL = EntityType(
    "parcel", "parcels", "parcel", "PA", (110, 280, 720),
    (
        Attribute("tracking", name_of("parcel"), col.coded("AA00000"), "tracking number",
                  ("tracking_number", "tracking_code", "awb")),
        col.measure("weight", MASS, col.numbers(0.1, 32, 2), "weight", "mass", "parcel_weight"),
        col.link("depot", "depot_id", "current depot", None, "location", "last_depot"),
        col.plain("due", DATE, col.days(0, 14), "delivery date", "eta", "expected"),
        col.choices("state", _STATES, "delivery state", "status", "delivery_status", kind="parcel_state"),
        col.link("city", "destination_id", "destination", None, "to_city", "deliver_to"),
        col.measure("value", MONEY, col.prices(5, 2400), "declared value", "declared", "insured_value"),
    ),
)  # fmt: skip
SHIPMENT = EntityType(
    "shipment", "shipments", "shipment", "SM", (40, 100, 240),
    (
        col.record("shipment", "sender", "sender_name", "shipper"),
        col.link("carrier"),
        col.link("city", "deliver_to_id", "delivery city", None, "delivery_city", "ship_to"),
        col.plain("parcels", COUNT, col.integers(1, 8), "number of parcels", "parcel_count", "quantity"),
        col.status(),
        col.plain("total", MONEY, col.prices(4, 320), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(CARRIER, SHIPMENT, "parcels", "sender", price="base_fee", chosen=("deliver_to_id",))
_PER_KM = 0.0125  # USD


def _quote(given: FormulaInputs) -> dict[str, float]:
    row = given.row("carrier", "carrier_id")
    cost = row["base_fee"] + row["rate"] * given.values["weight"] + _PER_KM * given.values["distance"]
    return {"price": round(cost, 2)}


LOGISTICS = Domain(
    "logistics", "Logistics", (CARRIER, DEPOT, PARCEL, SHIPMENT),
    (
        compute("carrier.quote",
                {"carrier_id": Slot(id_of("carrier"), "id of the carrier", aka=("carrier", "company_id")),
                 "weight": Slot(MASS, "weight", aka=("mass", "parcel_weight"), low=0.01, high=5000),
                 "distance": Slot(DISTANCE, "distance", aka=("length", "route_length"), low=0, high=25_000)},
                {"price": (MONEY, "price of shipping")}, _quote, "Price of shipping a weight over a distance",
                "shipping quote", "quote shipment", "estimate shipping"),
        create("carrier.ship", _SALE, "Send parcels to a city", "create shipment", "send parcels", "ship parcels"),
        cancel("shipment.cancel", _SALE, "Cancel a shipment", "cancel shipment", "stop shipment", "delete shipment"),
        update("shipment.redirect", SHIPMENT, "deliver_to_id", "Send a shipment to another city",
               "redirect shipment", "change destination", "update shipment"),
    ),
    ("Cargo", "Parcel", "Ship", "Freight", "Courier", "Post"),
)  # fmt: skip
