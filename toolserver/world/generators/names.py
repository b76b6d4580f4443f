"""Name grammars: each takes a stream and gives one name."""

from __future__ import annotations

from toolserver.world.generators import words
from toolserver.world.seeded_random import SeededRandom


def city(stream: SeededRandom) -> str:
    """`Velmora`, `Corinhaven`."""
    start, end = stream.pick(words.PLACE_STARTS), stream.pick(words.PLACE_ENDS)
    return start + (stream.pick(words.PLACE_MIDDLES) if stream.chance(0.4) else "") + end


def country(stream: SeededRandom) -> str:
    """`Kalovia`."""
    return stream.pick(words.PLACE_STARTS) + stream.pick(words.COUNTRY_ENDS)


def person(stream: SeededRandom) -> str:
    """`Mira Tollan`."""
    return f"{stream.pick(words.FIRST_NAMES)} {stream.pick(words.LAST_NAMES)}"


def doctor(stream: SeededRandom) -> str:
    """`Dr. Ivo Kovac`."""
    return f"Dr. {person(stream)}"


def landmark(stream: SeededRandom) -> str:
    """`Silver Tower`."""
    return f"{stream.pick(words.ADJECTIVES)} {stream.pick(words.LANDMARKS)}"


def title(stream: SeededRandom) -> str:
    """A film, book, song or album: `The Silent Harbor`, `Lantern of Storms`, `Winter Road`."""
    form = stream.below(4)
    first, noun = stream.pick(words.ADJECTIVES), stream.pick(words.NOUNS)
    if form == 0:
        return f"The {first} {noun}"
    if form == 1:
        return f"{noun} of the {stream.pick(words.NOUNS)}"
    return f"{first} {noun}"


def company(stream: SeededRandom) -> str:
    """`Heliodyne`, `Nova Systems`."""
    stem = stream.pick(words.COMPANY_STEMS)
    if stream.chance(0.6):
        return stem + stream.pick(words.COMPANY_ENDS)
    return f"{stem} {stream.pick(words.COMPANY_FORMS)}"


def airline(stream: SeededRandom) -> str:
    """`Juno Air`."""
    return f"{stream.pick(words.COMPANY_STEMS)} {stream.pick(('Air', 'Airways', 'Jet', 'Wings'))}"


def hotel(stream: SeededRandom) -> str:
    """`Hotel Ember`, `Golden Meadow Inn`."""
    if stream.chance(0.4):
        return f"Hotel {stream.pick(words.NOUNS)}"
    kind = stream.pick(("Inn", "Lodge", "Suites", "Resort", "Palace"))
    return f"{stream.pick(words.ADJECTIVES)} {stream.pick(words.NOUNS)} {kind}"


def airport(stream: SeededRandom) -> str:
    """`Lorenford Airport`."""
    return f"{city(stream)} Airport"


def station(stream: SeededRandom) -> str:
    """`Amber Junction`."""
    return f"{stream.pick(words.ADJECTIVES)} {stream.pick(('Junction', 'Central', 'Station', 'Terminal'))}"


def band(stream: SeededRandom) -> str:
    """`The Velvet Trio`, `Nora Weiss`."""
    if stream.chance(0.4):
        return person(stream)
    return f"The {stream.pick(words.ADJECTIVES)} {stream.pick(words.NOUNS)} {stream.pick(words.BANDS)}"


def team(stream: SeededRandom) -> str:
    """`Dalwick Hawks`."""
    return f"{city(stream)} {stream.pick(words.TEAM_ENDS)}"


def league(stream: SeededRandom) -> str:
    """`Northern Premier League`."""
    return (
        f"{stream.pick(words.ADJECTIVES)} {stream.pick(('Premier League', 'Cup', 'Division', 'Series', 'Conference'))}"
    )


def ingredient(stream: SeededRandom) -> str:
    """`Smoky Tofu`."""
    plain = stream.pick(words.INGREDIENTS)
    return plain if stream.chance(0.5) else f"{stream.pick(words.ADJECTIVES_OF_FOOD)} {plain}"


def recipe(stream: SeededRandom) -> str:
    """`Glazed Carrot Tart`."""
    adjective, main = stream.pick(words.ADJECTIVES_OF_FOOD), stream.pick(words.INGREDIENTS)
    return f"{adjective} {main} {stream.pick(words.DISHES)}"


def product(stream: SeededRandom) -> str:
    """`Voltline Kettle`."""
    brand = stream.pick(words.COMPANY_STEMS) + stream.pick(words.COMPANY_ENDS)
    return f"{brand} {stream.pick(words.PRODUCTS)}"


def shop(stream: SeededRandom) -> str:
    """`Cedar & Rose`, `Lantern Market`."""
    if stream.chance(0.5):
        return f"{stream.pick(words.COMPANY_STEMS)} & {stream.pick(words.NOUNS)}"
    return f"{stream.pick(words.NOUNS)} {stream.pick(('Market', 'Store', 'Outlet', 'Depot', 'Corner'))}"


def course(stream: SeededRandom) -> str:
    """`Practical Optics`."""
    return f"{stream.pick(words.COURSE_FORMS)} {stream.pick(words.SUBJECTS)}"


def school(stream: SeededRandom) -> str:
    """`Talavdale College`."""
    return f"{city(stream)} {stream.pick(('College', 'University', 'Institute', 'Academy'))}"


def event(stream: SeededRandom) -> str:
    """`Crimson Echo Festival`."""
    return f"{stream.pick(words.ADJECTIVES)} {stream.pick(words.NOUNS)} {stream.pick(words.EVENTS)}"


def venue(stream: SeededRandom) -> str:
    """`Orchard Hall`."""
    return f"{stream.pick(words.NOUNS)} {stream.pick(words.VENUES)}"


def clinic(stream: SeededRandom) -> str:
    """`Silver Shore Clinic`."""
    kind = stream.pick(("Clinic", "Medical Center", "Hospital", "Health Center"))
    return f"{stream.pick(words.ADJECTIVES)} {stream.pick(words.NOUNS)} {kind}"


def carrier(stream: SeededRandom) -> str:
    """`Rapid Freight`."""
    return f"{stream.pick(words.COMPANY_STEMS)} {stream.pick(('Freight', 'Express', 'Cargo', 'Couriers', 'Post'))}"


def depot(stream: SeededRandom) -> str:
    """`Iron Canyon Depot`."""
    return f"{stream.pick(words.ADJECTIVES)} {stream.pick(words.NOUNS)} {stream.pick(('Depot', 'Hub', 'Terminal'))}"


def job(stream: SeededRandom) -> str:
    """`Senior Data Analyst`."""
    rank = stream.pick(("Junior ", "Senior ", "Lead ", "Deputy ", ""))
    return f"{rank}{stream.pick(words.JOBS)} ({stream.pick(words.COMPANY_STEMS)} team)"


def coded(stream: SeededRandom, pattern: str) -> str:
    """A code such as `KX482` after a pattern of `A` and `0`."""
    return "".join(chr(65 + stream.below(26)) if sign == "A" else str(stream.below(10)) for sign in pattern)


def currency(stream: SeededRandom) -> str:
    """`Belian crown`."""
    return f"{stream.pick(words.PLACE_STARTS)}ian {stream.pick(('crown', 'dinar', 'florin', 'mark', 'peso', 'rand'))}"
