"""Films: directors, actors, films and rentals."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.mutations import Sale, cancel, create
from toolserver.world.schema import Domain, EntityType
from toolserver.world.types import COUNT, DATE, MINUTES, MONEY, RATING, YEAR

_GENRES = ("comedy", "documentary", "drama", "fantasy", "horror", "mystery", "romance", "thriller")

DIRECTOR = EntityType(
    "director", "directors", "director", "D", (24, 60, 140),
    (
        col.named("director", names.person, "name", "director", "full_name"),
        col.measure("awards", COUNT, col.integers(0, 30), "number of awards", "prizes", "award_count"),
        col.link("country"),
        col.plain("born", YEAR, col.integers(1930, 2001), "year of birth", "birth_year", "year_born"),
    ),
)  # fmt: skip
ACTOR = EntityType(
    "actor", "actors", "actor", "AC", (48, 120, 300),
    (
        col.named("actor", names.person, "name", "actor", "performer"),
        col.measure("roles", COUNT, col.integers(3, 110), "number of roles", "credits", "role_count"),
        col.link("city", "birthplace_id", "birthplace", None, "born_in", "birth_city"),
        col.plain("born", YEAR, col.integers(1935, 2008), "year of birth", "birth_year", "year_born"),
    ),
)  # fmt: skip
FILM = EntityType(
    "film", "films", "film", "M", (96, 260, 700),
    (
        col.named("film", names.title, "title", "film", "movie"),
        col.measure("rating", RATING, col.numbers(2.0, 9.8, 1), "rating", "score", "stars", volatile=True),
        col.link("director"),
        col.measure("runtime", MINUTES, col.integers(74, 205), "runtime", "length", "duration"),
        col.link("actor", "star_id", "leading actor", None, "lead_actor", "starring"),
        col.plain("year", YEAR, col.integers(1950, 2031), "release year", "released", "release_year"),
        col.choices("genre", _GENRES, "genre", "category", kind="film_genre"),
        col.measure("gross", MONEY, col.dollars(90_000, 900_000_000), "box office", "box_office",
                    "revenue"),
        col.measure("rent", MONEY, col.prices(2, 8), "rental price", "price", "rental_fee", volatile=True),
    ),
)  # fmt: skip
RENTAL = EntityType(
    "rental", "film rentals", "film rental", "FR", (40, 100, 240),
    (
        col.record("rental", "member", "member_name", "customer"),
        col.link("film"),
        col.plain("date", DATE, col.days(-3, 10), "start date", "starts", "from_date"),
        col.status(),
        col.plain("total", MONEY, col.prices(2, 8), "price", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(FILM, RENTAL, "", "member", price="rent", chosen=("date",), once=True)

FILMS = Domain(
    "films", "Movies", (DIRECTOR, ACTOR, FILM, RENTAL),
    (
        create("film.rent", _SALE, "Rent a film for a date", "rent film", "rent movie", "start rental"),
        cancel("rental.cancel", _SALE, "Cancel a film rental", "cancel rental", "end rental", "delete rental"),
    ),
    ("Film", "Cine", "Movie", "Screen", "Reel", "Studio"),
)  # fmt: skip
