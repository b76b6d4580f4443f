"""Sports: leagues, teams, players, matches and match tickets."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create
from toolserver.world.schema import Attribute, Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, FACTOR, MASS, MONEY, RATING, YEAR, id_of, name_of

_SPORTS = ("basketball", "football", "handball", "hockey", "rugby", "volleyball")

LEAGUE = EntityType(
    "league", "leagues", "league", "LG", (8, 16, 36),
    (
        col.named("league", names.league, "name", "league", "competition"),
        col.measure("prize", MONEY, col.dollars(50_000, 40_000_000), "prize money", "purse", "award"),
        col.link("country"),
        col.choices("sport", _SPORTS, "sport", "discipline"),
        col.plain("founded", YEAR, col.integers(1880, 2020), "year of foundation", "established", "since"),
    ),
)  # fmt: skip
TEAM = EntityType(
    "team", "teams", "team", "TM", (48, 110, 260),
    (
        col.named("team", names.team, "name", "team", "club"),
        col.measure("points", COUNT, col.integers(0, 96), "points this season", "score", "season_points",
                    volatile=True),
        col.link("league"),
        col.link("city", "home_id", "home city", None, "home_city", "based_in"),
        col.measure("titles", COUNT, col.integers(0, 27), "titles won", "trophies", "championships"),
        col.plain("founded", YEAR, col.integers(1878, 2019), "year of foundation", "established", "since"),
    ),
)  # fmt: skip
PLAYER = EntityType(
    "player", "players", "player", "PL", (130, 320, 800),
    (
        col.named("player", names.person, "name", "player", "full_name"),
        col.measure("points", COUNT, col.integers(0, 420), "points scored this season", "scored", "season_points",
                    volatile=True),
        col.link("team"),
        col.measure("wage", MONEY, col.dollars(400, 90_000), "weekly wage", "salary", "pay"),
        col.plain("shirt", COUNT, col.integers(1, 99), "shirt number", "jersey", "number"),
        col.plain("born", YEAR, col.integers(1992, 2013), "year of birth", "birth_year", "year_born"),
        col.plain("weight", MASS, col.numbers(52, 118, 1), "weight", "mass", "body_weight"),
        col.measure("form", RATING, col.numbers(3.0, 10.0, 1), "form rating", "rating", "form_score", volatile=True),
    ),
)  # fmt: skip
MATCH = EntityType(
    "match", "matches", "match", "MT", (90, 240, 600),
    (
        Attribute("code", name_of("match"), col.coded("AAA00"), "match code", ("match", "match_code", "fixture")),
        col.measure("price", MONEY, col.prices(8, 160), "ticket price", "ticket_price", "admission", volatile=True),
        col.link("team", "home_team_id", "home team", None, "home", "host"),
        col.link("team", "away_team_id", "away team", col.other_reference("team", "home_team_id"), "away", "visitor"),
        col.plain("date", DATE, col.days(1, 30), "date", "match_day", "day"),
        col.measure("seats_left", COUNT, col.integers(0, 400), "number of free seats", "available_seats", "seats",
                    volatile=True),
    ),
)  # fmt: skip
TICKET = EntityType(
    "match_ticket", "match tickets", "match ticket", "MS", (40, 100, 240),
    (
        col.record("match_ticket", "supporter", "supporter_name", "buyer"),
        col.link("match"),
        col.plain("seats", COUNT, col.integers(1, 6), "number of seats", "seat_count", "quantity"),
        col.status(),
        col.plain("total", MONEY, col.prices(8, 900), "total price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(MATCH, TICKET, "seats", "supporter", stock="seats_left", price="price")


def _rate(given: FormulaInputs) -> dict[str, float]:
    return {"per_match": round(given.row("player", "player_id")["points"] / given.values["matches"], 4)}


SPORTS = Domain(
    "sports", "Sports", (LEAGUE, TEAM, PLAYER, MATCH, TICKET),
    (
        create("match.book", _SALE, "Buy seats for a match", "buy match seats", "book match", "order match ticket"),
        cancel("match_ticket.cancel", _SALE, "Cancel a match ticket",
               "cancel match ticket", "refund match ticket", "return match seats"),
        compute("player.rate",
                {"player_id": Slot(id_of("player"), "id of the player", aka=("player", "athlete_id")),
                 "matches": Slot(COUNT, "number of matches played", aka=("games", "played"), low=1, high=500)},
                {"per_match": (FACTOR, "points per match")}, _rate, "Points per match of a player",
                "points per match", "scoring rate", "player average"),
    ),
    ("Sport", "League", "Score", "Arena", "Team", "Match"),
)  # fmt: skip
