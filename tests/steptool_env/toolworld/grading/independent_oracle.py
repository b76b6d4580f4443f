"""Answers to ToolWorld's tasks, computed from the tables by other code than the product's.

It knows an operation by its name alone and does what `docs/toolworld-reference.md` says of it, with the rows of the
tables as dictionaries. It uses no `world.execute`, no vendor, no codec and no slot of the verifier, so an error in one
of these cannot confirm itself.
"""

import math
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from statistics import fmean
from typing import Any, NamedTuple

from steptool_env.toolworld.planning.plan import Given, Plan
from toolserver.world import NO_CHANGES, World
from toolserver.world.domains.travel.weather import day_of

Values = dict[str, Any]
TODAY = date(2031, 5, 12)


class Sale(NamedTuple):
    """A write that creates a row: the tables of the sold and the created row, and columns of quantity, customer, price.

    `stock` is the column of the sold row that falls by the quantity.
    """

    sold: str
    made: str
    customer: str
    quantity: str = ""
    price: str = ""
    stock: str = ""


SALES = {
    "flight.book": Sale("flight", "ticket", "passenger", "seats", "price", "seats_left"),
    "train.book": Sale("train", "rail_ticket", "traveller", "seats", "price", "seats_left"),
    "hotel.book": Sale("hotel", "reservation", "guest", "rooms", "price", "rooms_left"),
    "job.apply": Sale("job", "application", "applicant"),
    "film.rent": Sale("film", "rental", "member", price="rent"),
    "artist.follow": Sale("artist", "follow", "fan"),
    "match.book": Sale("match", "match_ticket", "supporter", "seats", "price", "seats_left"),
    "book.borrow": Sale("book", "loan", "reader", stock="copies_left"),
    "course.enrol": Sale("course", "enrolment", "student", price="fee", stock="places_left"),
    "restaurant.book": Sale("restaurant", "table_booking", "diner", "tables", stock="tables_left"),
    "product.order": Sale("product", "order", "customer", "quantity", "price", "stock"),
    "event.book": Sale("event", "event_ticket", "visitor", "tickets", "price", "tickets_left"),
    "doctor.book": Sale("doctor", "appointment", "patient", price="fee", stock="slots_left"),
    "carrier.ship": Sale("carrier", "shipment", "sender", "parcels", "base_fee"),
}
ENDS = ("cancel", "withdraw", "return", "end")
CHANGES = {
    "flight.rename": "ticket", "reservation.move": "reservation", "loan.extend": "loan", "order.redirect": "order",
    "table_booking.move": "table_booking", "appointment.move": "appointment", "shipment.redirect": "shipment",
}  # fmt: skip


class Effect(NamedTuple):
    """A change of state: rows made, without their ids, and columns that changed, by table and id."""

    made: list[tuple[str, Values]]
    changed: dict[tuple[str, str], Values]


class IndependentOracle:
    """Computation of the results of a plan's calls."""

    def __init__(self, world: World) -> None:
        self._world = world

    def table(self, entity: str) -> dict[str, Values]:
        """The rows of a table by id, each with its own id as `hotel_id` or the like."""
        rows = self._world.table(entity).rows
        return {row_id: {f"{entity}_id": row_id, **row} for row_id, row in rows.items()}

    def weather(self, city_id: str, day: str) -> Values:
        """The weather of a city on a day: data like the tables, made from the world's seed when it is needed."""
        return {"date": day, **day_of(self._world, city_id, day, NO_CHANGES)}

    def results(self, plan: Plan) -> list[list[Values]]:
        """The rows that each call of a plan gives, up to the last one if that is a write."""
        found: list[list[Values]] = []
        for index in range(len(plan.nodes) - plan.writes):
            found.append(self.call(plan.nodes[index].operation, self.arguments(plan, index, found)))
        return found

    def arguments(self, plan: Plan, index: int, found: list[list[Values]]) -> Values:
        """Return the arguments of a call: constants of the query and values of earlier calls."""
        sources = plan.nodes[index].inputs.items()
        return {
            name: each.value if isinstance(each, Given) else found[each.node][0][each.output] for name, each in sources
        }

    def call(self, operation: str, given: Values) -> list[Values]:
        """The rows that an operation gives."""
        if operation in FORMULAS:
            return [FORMULAS[operation](self, given)]
        subject, _, verb = operation.partition(".")
        rows = list(self.table(subject).values())
        named = next(iter(self._world.table(subject).rows.values()))
        if verb == "search":
            name = next(iter(named))
            return [row for row in rows if row[name].casefold() == given[name].casefold()]
        if verb == "between":
            verb = "list"
        if verb == "list" or verb.startswith("by_"):
            return [row for row in rows if _passes(row, given)]
        if verb.startswith("top_"):
            return self._ranked(rows, verb.removeprefix("top_"), given)
        if verb.startswith("average_"):
            measure, _, parent = verb.removeprefix("average_").partition("_by_")
            numbers = [row[measure] for row in rows if row[f"{parent}_id"] == given[f"{parent}_id"]]
            return [{"count": len(numbers), f"average_{measure}": fmean(numbers)}]
        if verb.startswith("compare_"):
            measure = verb.removeprefix("compare_")
            pair = sorted((self.table(subject)[given[f"{each}_id"]] for each in ("first", "second")),
                          key=lambda row: row[measure])  # fmt: skip
            return [pair[1] | {"difference": pair[1][measure] - pair[0][measure]}]
        return [self.table(subject)[given[f"{subject}_id"]]]  # details, or one of its attributes

    def _ranked(self, rows: list[Values], verb: str, given: Values) -> list[Values]:
        measure, _, parent = verb.partition("_by_")
        kept = [row for row in rows if not parent or row[f"{parent}_id"] == given[f"{parent}_id"]]
        kept.sort(key=lambda row: row[measure], reverse=given.get("order") != "ascending")
        return kept[: given.get("limit") or 3]

    def effect(self, plan: Plan) -> Effect:
        """Return the changes of a plan's last call."""
        index = len(plan.nodes) - 1
        operation, given = plan.nodes[index].operation, self.arguments(plan, index, self.results(plan))
        if operation in SALES:
            return self._sale(SALES[operation], given)
        subject, _, verb = operation.partition(".")
        if operation in CHANGES:
            made = CHANGES[operation]
            new = {name.removeprefix("new_"): value for name, value in given.items() if name.startswith("new_")}
            return Effect([], {(made, given[f"{made}_id"]): new})
        assert verb in ENDS
        row = self.table(subject)[given[f"{subject}_id"]]
        changed: dict[tuple[str, str], Values] = {(subject, given[f"{subject}_id"]): {"status": "cancelled"}}
        sale = next(each for each in SALES.values() if each.made == subject)
        if sale.stock:
            goods = row[f"{sale.sold}_id"]
            left = self.table(sale.sold)[goods][sale.stock]
            changed[sale.sold, goods] = {sale.stock: left + (row[sale.quantity] if sale.quantity else 1)}
        return Effect([], changed)

    def _sale(self, sale: Sale, given: Values) -> Effect:
        goods_id = given[f"{sale.sold}_id"]
        goods = self.table(sale.sold)[goods_id]
        many = given.get(sale.quantity, 1)
        row = dict.fromkeys(next(iter(self._world.table(sale.made).rows.values()))) | given | {"status": "active"}
        if sale.quantity:
            row[sale.quantity] = many
        if sale.price:
            row["total"] = round(goods[sale.price] * many, 2)
        stock = {(sale.sold, goods_id): {sale.stock: goods[sale.stock] - many}} if sale.stock else {}
        return Effect([(sale.made, row)], stock)


def _passes(row: Values, given: Values) -> bool:
    """Return True if a row has the given values; `min_` and `max_` inputs are bounds."""
    for name, value in given.items():
        if name.startswith("min_") and name not in row:
            kept = row[name.removeprefix("min_")] >= value
        elif name.startswith("max_") and name not in row:
            kept = row[name.removeprefix("max_")] <= value
        else:
            kept = row[name] == value
        if not kept:
            return False
    return True


def _kilometres(one: Values, other: Values) -> float:
    """The distance on a sphere of radius 6,371 km, by the angle between two unit vectors."""

    def vector(row: Values) -> tuple[float, float, float]:
        north, east = math.radians(row["latitude"]), math.radians(row["longitude"])
        return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)

    a, b = vector(one), vector(other)
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return 6371 * math.atan2(math.hypot(*cross), sum(x * y for x, y in zip(a, b, strict=True)))


def _bill(given: Values) -> Values:
    tip = round(given["amount"] * given["percent"] / 100, 2)
    total = given["amount"] + tip
    return {"tip": tip, "sum": total, "share": total / given["people"]}


def _shipping(carrier: Values, given: Values) -> float:
    price: float = carrier["base_fee"] + carrier["rate"] * given["weight"] + given["distance"] / 80
    return price


Formula = Callable[[IndependentOracle, Values], Values]
FORMULAS: Mapping[str, Formula] = {
    "city.distance": lambda o, g: {"distance": round(_kilometres(
        o.table("city")[g["origin_id"]], o.table("city")[g["destination_id"]]), 1)},
    "travel.time": lambda _, g: {"duration": round(g["distance"] / g["speed"] * 60)},
    "train.reduced_fare": lambda o, g: {
        "reduced": o.table("train")[g["train_id"]]["price"] * (1 - g["discount"] / 100)},
    "currency.convert": lambda o, g: {
        "converted": round(o.table("currency")[g["currency_id"]]["rate"] * g["amount"], 2)},
    "currency.to_usd": lambda o, g: {
        "usd": round(g["foreign_amount"] / o.table("currency")[g["currency_id"]]["rate"], 2)},
    "bill.split": lambda _, g: _bill(g),
    "company.position_value": lambda o, g: {
        "value": round(g["shares"] * o.table("company")[g["company_id"]]["share_price"], 2)},
    "company.dividend_income": lambda o, g: {"income": round(
        g["shares"] * o.table("company")[g["company_id"]]["dividend"]
        * o.table("company")[g["company_id"]]["share_price"] / 100, 2)},
    "song.royalties": lambda o, g: {"royalties": round(o.table("song")[g["song_id"]]["plays"] / 250, 2)},
    "player.rate": lambda o, g: {"per_match": o.table("player")[g["player_id"]]["points"] / g["matches"]},
    "ingredient.nutrition": lambda o, g: {
        name: round(o.table("ingredient")[g["ingredient_id"]][name] * g["grams"] / 100)
        for name in ("energy", "protein")},
    "recipe.total_energy": lambda o, g: {
        "energy": o.table("recipe")[g["recipe_id"]]["energy"] * g["portions"]},
    "product.quote": lambda o, g: {
        "total": round(o.table("product")[g["product_id"]]["price"] * g["quantity"]
                       * (100 - g.get("discount", 0)) / 100, 2),
        "weight": round(o.table("product")[g["product_id"]]["weight"] * g["quantity"], 2)},
    "carrier.quote": lambda o, g: {"price": round(_shipping(o.table("carrier")[g["carrier_id"]], g), 2)},
    "weather.on": lambda o, g: o.weather(g["city_id"], g["date"]),
    "weather.warmest_day": lambda o, g: max(
        (o.weather(g["city_id"], (TODAY + timedelta(days=each)).isoformat()) for each in range(g.get("days") or 3)),
        key=lambda day: float(day["temperature"])),
    "event.countdown": lambda o, g: {
        "days": (date.fromisoformat(o.table("event")[g["event_id"]]["date"]) - TODAY).days},
    "calendar.weekday": lambda _, g: {"weekday": f"{date.fromisoformat(g['date']):%A}"},
    "body.mass_index": lambda _, g: {"bmi": g["weight"] / (g["height"] / 100) ** 2},
}  # fmt: skip
