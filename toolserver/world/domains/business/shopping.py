"""Shops, products and orders."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, MASS, MONEY, PERCENT, RATING, YEAR, id_of

_CATEGORIES = ("electronics", "garden", "home", "kitchen", "office", "outdoor", "toys")

SHOP = EntityType(
    "shop", "shops", "shop", "SH", (36, 90, 220),
    (
        col.named("shop", names.shop, "name", "shop", "store"),
        col.measure("rating", RATING, col.numbers(1.5, 5.0, 1), "customer rating", "score", "stars", volatile=True),
        col.link("city"),
        col.measure("delivery_fee", MONEY, col.prices(0, 25), "delivery fee", "shipping_cost", "delivery_cost",
                    volatile=True),
        col.plain("opened", YEAR, col.integers(1950, 2030), "year of opening", "since", "established"),
    ),
)  # fmt: skip
PRODUCT = EntityType(
    "product", "products", "product", "P", (144, 380, 1000),
    (
        col.named("product", names.product, "name", "product", "item"),
        col.measure("price", MONEY, col.prices(4, 900), "price", "cost", "unit_price", volatile=True),
        col.link("shop"),
        col.measure("stock", COUNT, col.integers(0, 60), "number in stock", "in_stock", "quantity_available",
                    volatile=True),
        col.measure("weight", MASS, col.numbers(0.1, 28, 2), "weight", "mass", "shipping_weight"),
        col.measure("rating", RATING, col.numbers(1.0, 5.0, 1), "customer rating", "score", "stars", volatile=True),
        col.choices("category", _CATEGORIES, "category", "department", kind="product_category"),
        col.plain("warranty", COUNT, col.integers(0, 60, 6), "warranty in months", "warranty_months", "guarantee"),
    ),
)  # fmt: skip
ORDER = EntityType(
    "order", "orders", "order", "O", (60, 140, 320),
    (
        col.record("order", "customer", "customer_name", "buyer"),
        col.link("product"),
        col.plain("quantity", COUNT, col.integers(1, 5), "quantity", "units", "amount"),
        col.link("city", "deliver_to_id", "delivery city", None, "delivery_city", "ship_to"),
        col.status(),
        col.plain("total", MONEY, col.prices(8, 1500), "total price", "sum", "cost"),
        col.plain("due", DATE, col.days(1, 14), "delivery date", "eta", "delivery_date"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(PRODUCT, ORDER, "quantity", "customer", stock="stock", price="price", chosen=("deliver_to_id",))


def _quote(given: FormulaInputs) -> dict[str, float]:
    row, many = given.row("product", "product_id"), given.values["quantity"]
    rest = 100 - given.values["discount"]
    return {"total": round(row["price"] * many * rest / 100, 2), "weight": round(row["weight"] * many, 2)}


SHOPPING = Domain(
    "shopping", "eCommerce", (SHOP, PRODUCT, ORDER),
    (
        compute("product.quote",
                {"product_id": Slot(id_of("product"), "id of the product", aka=("product", "sku")),
                 "quantity": Slot(COUNT, "number of units", aka=("units", "count"), low=1, high=10_000),
                 "discount": Slot(PERCENT, "discount in percent", False, 0, ("percent_off", "rebate"), low=0,
                                  high=100)},
                {"total": (MONEY, "total price"), "weight": (MASS, "total weight")}, _quote,
                "Price and weight of several units of a product", "price quote", "bulk price", "quote product"),
        create("product.order", _SALE, "Order a product to a city", "place order", "order product", "buy product"),
        cancel("order.cancel", _SALE, "Cancel an order", "cancel order", "delete order", "revoke order"),
        update("order.redirect", ORDER, "deliver_to_id", "Send an order to another city",
               "change delivery city", "redirect order", "update order address"),
    ),
    ("Shop", "Cart", "Store", "Deal", "Market", "Mall"),
)  # fmt: skip
