"""Recipes, nutrition and restaurants."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, ENERGY, FLAG, GRAMS, MINUTES, MONEY, RATING, id_of

_CUISINES = ("coastal", "farmhouse", "fusion", "island", "mountain", "street", "vegan")

INGREDIENT = EntityType(
    "ingredient", "ingredients", "ingredient", "I", (48, 110, 260),
    (
        col.named("ingredient", names.ingredient, "name", "ingredient", "food"),
        col.measure("energy", ENERGY, col.integers(8, 720), "energy per 100 g", "calories", "kcal_per_100g"),
        col.choices("group", ("dairy", "fruit", "grain", "meat", "nut", "spice", "vegetable"), "food group", "type",
                    kind="food_group"),
        col.measure("protein", GRAMS, col.integers(0, 34), "protein per 100 g", "protein_per_100g", "proteins"),
        col.plain("allergen", FLAG, col.flags(0.25), "allergen", "is_allergen", "allergenic"),
    ),
)  # fmt: skip
RECIPE = EntityType(
    "recipe", "recipes", "recipe", "RE", (96, 240, 640),
    (
        col.named("recipe", names.recipe, "name", "recipe", "dish"),
        col.measure("minutes", MINUTES, col.integers(10, 180, 5), "cooking time", "cook_time", "duration"),
        col.link("ingredient", "main_id", "main ingredient", None, "main_ingredient", "based_on"),
        col.measure("energy", ENERGY, col.integers(120, 1100), "energy per serving", "calories", "kcal"),
        col.plain("servings", COUNT, col.integers(1, 10), "number of servings", "serves", "portions"),
        col.choices("cuisine", _CUISINES, "cuisine", "style"),
        col.choices("difficulty", ("easy", "hard", "medium"), "difficulty", "level"),
    ),
)  # fmt: skip
RESTAURANT = EntityType(
    "restaurant", "restaurants", "restaurant", "RX", (72, 180, 440),
    (
        col.named("restaurant", lambda rng: f"The {names.landmark(rng).split()[0]} {names.venue(rng).split()[0]}",
              "name", "restaurant", "place"),
        col.measure("rating", RATING, col.numbers(2.0, 5.0, 1), "rating", "score", "stars", volatile=True),
        col.link("city"),
        col.measure("price", MONEY, col.prices(8, 130), "average price of a meal", "avg_price", "meal_price",
                    volatile=True),
        col.measure("tables_left", COUNT, col.integers(0, 14), "number of free tables", "free_tables", "availability",
                    volatile=True),
        col.choices("cuisine", _CUISINES, "cuisine", "style"),
    ),
)  # fmt: skip
BOOKING = EntityType(
    "table_booking", "table bookings", "table booking", "TB", (40, 100, 240),
    (
        col.record("table_booking", "diner", "diner_name", "guest"),
        col.link("restaurant"),
        col.plain("date", DATE, col.days(1, 25), "date", "day", "booking_date"),
        col.plain("tables", COUNT, col.integers(1, 2), "number of tables", "table_count", "quantity"),
        col.status(),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(RESTAURANT, BOOKING, "tables", "diner", stock="tables_left", chosen=("date",))


def _nutrition(given: FormulaInputs) -> dict[str, int]:
    row, grams = given.row("ingredient", "ingredient_id"), given.values["grams"]
    return {"energy": round(row["energy"] * grams / 100), "protein": round(row["protein"] * grams / 100)}


def _scaled(given: FormulaInputs) -> dict[str, int]:
    return {"energy": given.row("recipe", "recipe_id")["energy"] * given.values["portions"]}


FOOD = Domain(
    "food", "Food", (INGREDIENT, RECIPE, RESTAURANT, BOOKING),
    (
        compute("ingredient.nutrition",
                {"ingredient_id": Slot(id_of("ingredient"), "id of the ingredient", aka=("ingredient", "food_id")),
                 "grams": Slot(GRAMS, "amount", aka=("amount", "weight"), low=1, high=100_000)},
                {"energy": (ENERGY, "energy of that amount"), "protein": (GRAMS, "protein of that amount")},
                _nutrition, "Energy and protein of an amount of an ingredient",
                "nutrition of amount", "calculate nutrition", "calories of portion"),
        compute("recipe.total_energy",
                {"recipe_id": Slot(id_of("recipe"), "id of the recipe", aka=("recipe", "dish_id")),
                 "portions": Slot(COUNT, "number of portions", aka=("servings", "people"), low=1, high=1000)},
                {"energy": (ENERGY, "energy of all portions")}, _scaled, "Energy of several portions of a recipe",
                "energy of portions", "scale recipe calories", "meal energy"),
        create("restaurant.book", _SALE, "Book tables in a restaurant",
               "book table", "reserve table", "create table booking"),
        cancel("table_booking.cancel", _SALE, "Cancel a table booking",
               "cancel table", "cancel table booking", "release table"),
        update("table_booking.move", BOOKING, "date", "Move a table booking to another date",
               "move table booking", "reschedule dinner", "change booking date"),
    ),
    ("Food", "Kitchen", "Recipe", "Dish", "Nutri", "Taste"),
)  # fmt: skip
