"""Currencies and the stock market."""

from typing import Any

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COUNT, FACTOR, FOREIGN_MONEY, MONEY, PERCENT, YEAR, id_of

CURRENCY = EntityType(
    "currency", "currencies", "currency", "K", (12, 30, 60),
    (
        col.named("currency", names.currency, "name", "currency", "currency_name"),
        col.measure("rate", FACTOR, col.numbers(0.05, 90, 4), "exchange rate per USD", "exchange_rate", "quote",
                    volatile=True),
        col.plain("introduced", YEAR, col.integers(1820, 2020), "year of introduction", "since", "first_issued"),
        col.measure("inflation", PERCENT, col.numbers(0.2, 14, 1), "inflation rate", "inflation_rate", "cpi",
                    volatile=True),
        col.choices("regime", ("fixed", "floating", "managed"), "exchange regime", "system"),
    ), digits=3,
)  # fmt: skip


def _convert(given: FormulaInputs) -> dict[str, Any]:
    rate = given.row("currency", "currency_id")["rate"]
    return {"converted": round(given.values["amount"] * rate, 2)}


def _to_usd(given: FormulaInputs) -> dict[str, Any]:
    rate = given.row("currency", "currency_id")["rate"]
    return {"usd": round(given.values["foreign_amount"] / rate, 2)}


def _tip(given: FormulaInputs) -> dict[str, Any]:
    tip = round(given.values["amount"] * given.values["percent"] / 100, 2)
    total = round(given.values["amount"] + tip, 2)
    return {"tip": tip, "sum": total, "share": round(total / given.values["people"], 2)}


_INTO = Slot(id_of("currency"), "id of the currency", aka=("currency", "currency_code", "to"))
_AMOUNT = Slot(MONEY, "amount in USD", aka=("value", "usd"), low=0)

FINANCE = Domain(
    "finance", "Finance", (CURRENCY,),
    (
        compute("currency.convert", {"amount": _AMOUNT, "currency_id": _INTO},
                {"converted": (FOREIGN_MONEY, "amount in that currency")}, _convert,
                "Convert USD into another currency", "convert currency", "exchange usd", "usd to currency"),
        compute("currency.to_usd",
                {"foreign_amount": Slot(FOREIGN_MONEY, "amount in that currency", aka=("value", "sum"), low=0),
                 "currency_id": _INTO},
                {"usd": (MONEY, "amount in USD")}, _to_usd,
                "Convert an amount of another currency into USD", "convert to usd", "exchange into usd",
                "currency to usd"),
        compute("bill.split",
                {"amount": _AMOUNT, "percent": Slot(PERCENT, "tip in percent", aka=("tip_percent",), low=0, high=100),
                 "people": Slot(COUNT, "number of people", aka=("persons", "guests"), low=1, high=1000)},
                {"tip": (MONEY, "tip"), "sum": (MONEY, "total with tip"), "share": (MONEY, "share of each person")},
                _tip, "Add a tip to a bill and split it", "split bill", "tip calculator", "share costs"),
    ),
    ("Money", "Fx", "Rate", "Coin", "Ledger", "Cash"),
)  # fmt: skip
