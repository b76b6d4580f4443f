"""Music: artists, albums, songs and followers of artists."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, FLAG, MINUTES, MONEY, RATING, YEAR, id_of

_GENRES = ("blues", "classical", "electronic", "folk", "hip hop", "jazz", "pop", "rock")

ARTIST = EntityType(
    "artist", "artists", "artist", "AR", (36, 90, 220),
    (
        col.named("artist", names.band, "name", "artist", "act"),
        col.measure("listeners", COUNT, col.skewed(1_200, 48_000_000), "monthly listeners", "audience",
                    "monthly_listeners", volatile=True),
        col.link("city", "hometown_id", "hometown", None, "home_city", "origin"),
        col.choices("genre", _GENRES, "genre", "style", kind="music_genre"),
        col.plain("active_since", YEAR, col.integers(1962, 2029), "first active year", "since", "debut"),
    ),
)  # fmt: skip
ALBUM = EntityType(
    "album", "albums", "album", "AB", (84, 220, 560),
    (
        col.named("album", names.title, "title", "album", "record"),
        col.measure("sales", COUNT, col.skewed(400, 9_000_000), "copies sold", "units_sold", "copies"),
        col.link("artist"),
        col.plain("year", YEAR, col.integers(1965, 2031), "release year", "released", "release_year"),
        col.measure("price", MONEY, col.prices(5, 40), "price", "cost", "retail_price", volatile=True),
        col.measure("rating", RATING, col.numbers(1.5, 5.0, 1), "critics' rating", "score", "stars"),
    ),
)  # fmt: skip
SONG = EntityType(
    "song", "songs", "song", "SG", (160, 420, 1100),
    (
        col.named("song", names.title, "title", "song", "track"),
        col.measure("plays", COUNT, col.skewed(900, 700_000_000), "number of plays", "streams", "play_count",
                    volatile=True),
        col.link("album"),
        col.measure("tempo", COUNT, col.integers(58, 190), "tempo in beats per minute", "bpm", "beats_per_minute"),
        col.plain("minutes", MINUTES, col.integers(2, 11), "length", "duration", "length"),
        col.plain("explicit", FLAG, col.flags(0.2), "explicit lyrics", "explicit_lyrics", "nsfw"),
    ),
)  # fmt: skip
FOLLOW = EntityType(
    "follow", "artist subscriptions", "artist subscription", "FO", (40, 100, 240),
    (
        col.record("follow", "fan", "fan_name", "user"),
        col.link("artist"),
        col.status(),
        col.plain("since", DATE, col.days(-300, 0), "start date", "started", "from_date"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(ARTIST, FOLLOW, "", "fan", once=True)


def _royalties(given: FormulaInputs) -> dict[str, float]:
    return {"royalties": round(given.row("song", "song_id")["plays"] * 0.004, 2)}


MUSIC = Domain(
    "music", "Music", (ARTIST, ALBUM, SONG, FOLLOW),
    (
        create("artist.follow", _SALE, "Subscribe a fan to an artist",
               "follow artist", "subscribe to artist", "add follower"),
        cancel("follow.end", _SALE, "End an artist subscription", "unfollow artist", "unsubscribe", "end subscription"),
        compute("song.royalties", {"song_id": Slot(id_of("song"), "id of the song", aka=("song", "track_id"))},
                {"royalties": (MONEY, "royalties")}, _royalties, "Royalties that a song's plays have earned",
                "song royalties", "estimate royalties", "streaming income"),
    ),
    ("Music", "Tune", "Song", "Beat", "Audio", "Melody"),
)  # fmt: skip
