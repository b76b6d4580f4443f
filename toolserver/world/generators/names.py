"""Name grammars: functions that draw a name."""

from collections.abc import Callable, Sequence

from toolserver.world.generators import words
from toolserver.world.seeded_random import SeededRandom

NameGenerator = Callable[[SeededRandom], str]


def joined(*parts: str | Sequence[str] | NameGenerator) -> NameGenerator:
    """Return the grammar of these parts, drawn from left to right: fixed text, one of several words, or a grammar."""

    def draw(rng: SeededRandom) -> str:
        return "".join(
            each if isinstance(each, str) else each(rng) if callable(each) else rng.pick(each) for each in parts
        )

    return draw


def city(rng: SeededRandom) -> str:
    """`Velmora`, `Corinhaven`."""
    start, end = rng.pick(words.PLACE_STARTS), rng.pick(words.PLACE_ENDS)
    return start + (rng.pick(words.PLACE_MIDDLES) if rng.chance(0.4) else "") + end


def title(rng: SeededRandom) -> str:
    """A film, book, song or album: `The Silent Harbor`, `Lantern of Storms`, `Winter Road`."""
    form = rng.below(4)
    first, noun = rng.pick(words.ADJECTIVES), rng.pick(words.NOUNS)
    if form == 0:
        return f"The {first} {noun}"
    if form == 1:
        return f"{noun} of the {rng.pick(words.NOUNS)}"
    return f"{first} {noun}"


def company(rng: SeededRandom) -> str:
    """`Heliodyne`, `Nova Systems`."""
    stem = rng.pick(words.COMPANY_STEMS)
    if rng.chance(0.6):
        return stem + rng.pick(words.COMPANY_ENDS)
    return f"{stem} {rng.pick(words.COMPANY_FORMS)}"


def hotel(rng: SeededRandom) -> str:
    """`Hotel Ember`, `Golden Meadow Inn`."""
    if rng.chance(0.4):
        return f"Hotel {rng.pick(words.NOUNS)}"
    kind = rng.pick(("Inn", "Lodge", "Suites", "Resort", "Palace"))
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {kind}"


def band(rng: SeededRandom) -> str:
    """`The Velvet Trio`, `Nora Weiss`."""
    if rng.chance(0.4):
        return person(rng)
    return f"The {rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {rng.pick(words.BANDS)}"


def ingredient(rng: SeededRandom) -> str:
    """`Smoky Tofu`."""
    plain = rng.pick(words.INGREDIENTS)
    return plain if rng.chance(0.5) else f"{rng.pick(words.ADJECTIVES_OF_FOOD)} {plain}"


def shop(rng: SeededRandom) -> str:
    """`Cedar & Rose`, `Lantern Market`."""
    if rng.chance(0.5):
        return f"{rng.pick(words.COMPANY_STEMS)} & {rng.pick(words.NOUNS)}"
    return f"{rng.pick(words.NOUNS)} {rng.pick(('Market', 'Store', 'Outlet', 'Depot', 'Corner'))}"


def clinic(rng: SeededRandom) -> str:
    """`Silver Shore Clinic`."""
    kind = rng.pick(("Clinic", "Medical Center", "Hospital", "Health Center"))
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {kind}"


person = joined(words.FIRST_NAMES, " ", words.LAST_NAMES)
doctor = joined("Dr. ", person)
country = joined(words.PLACE_STARTS, words.COUNTRY_ENDS)
landmark = joined(words.ADJECTIVES, " ", words.LANDMARKS)
airline = joined(words.COMPANY_STEMS, " ", ("Air", "Airways", "Jet", "Wings"))
airport = joined(city, " Airport")
station = joined(words.ADJECTIVES, " ", ("Junction", "Central", "Station", "Terminal"))
team = joined(city, " ", words.TEAM_ENDS)
league = joined(words.ADJECTIVES, " ", ("Premier League", "Cup", "Division", "Series", "Conference"))
recipe = joined(words.ADJECTIVES_OF_FOOD, " ", words.INGREDIENTS, " ", words.DISHES)
product = joined(words.COMPANY_STEMS, words.COMPANY_ENDS, " ", words.PRODUCTS)
course = joined(words.COURSE_FORMS, " ", words.SUBJECTS)
school = joined(city, " ", ("College", "University", "Institute", "Academy"))
event = joined(words.ADJECTIVES, " ", words.NOUNS, " ", words.EVENTS)
venue = joined(words.NOUNS, " ", words.VENUES)
carrier = joined(words.COMPANY_STEMS, " ", ("Freight", "Express", "Cargo", "Couriers", "Post"))
depot = joined(words.ADJECTIVES, " ", words.NOUNS, " ", ("Depot", "Hub", "Terminal"))
job = joined(("Junior ", "Senior ", "Lead ", "Deputy ", ""), words.JOBS, " (", words.COMPANY_STEMS, " team)")
currency = joined(words.PLACE_STARTS, "ian ", ("crown", "dinar", "florin", "mark", "peso", "rand"))
