"""Name grammars: functions that draw a name."""

from __future__ import annotations

from toolserver.world.generators import words
from toolserver.world.seeded_random import SeededRandom


def city(rng: SeededRandom) -> str:
    """`Velmora`, `Corinhaven`."""
    start, end = rng.pick(words.PLACE_STARTS), rng.pick(words.PLACE_ENDS)
    return start + (rng.pick(words.PLACE_MIDDLES) if rng.chance(0.4) else "") + end


def country(rng: SeededRandom) -> str:
    """`Kalovia`."""
    return rng.pick(words.PLACE_STARTS) + rng.pick(words.COUNTRY_ENDS)


def person(rng: SeededRandom) -> str:
    """`Mira Tollan`."""
    return f"{rng.pick(words.FIRST_NAMES)} {rng.pick(words.LAST_NAMES)}"


def doctor(rng: SeededRandom) -> str:
    """`Dr. Ivo Kovac`."""
    return f"Dr. {person(rng)}"


def landmark(rng: SeededRandom) -> str:
    """`Silver Tower`."""
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.LANDMARKS)}"


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


def airline(rng: SeededRandom) -> str:
    """`Juno Air`."""
    return f"{rng.pick(words.COMPANY_STEMS)} {rng.pick(('Air', 'Airways', 'Jet', 'Wings'))}"


def hotel(rng: SeededRandom) -> str:
    """`Hotel Ember`, `Golden Meadow Inn`."""
    if rng.chance(0.4):
        return f"Hotel {rng.pick(words.NOUNS)}"
    kind = rng.pick(("Inn", "Lodge", "Suites", "Resort", "Palace"))
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {kind}"


def airport(rng: SeededRandom) -> str:
    """`Lorenford Airport`."""
    return f"{city(rng)} Airport"


def station(rng: SeededRandom) -> str:
    """`Amber Junction`."""
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(('Junction', 'Central', 'Station', 'Terminal'))}"


def band(rng: SeededRandom) -> str:
    """`The Velvet Trio`, `Nora Weiss`."""
    if rng.chance(0.4):
        return person(rng)
    return f"The {rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {rng.pick(words.BANDS)}"


def team(rng: SeededRandom) -> str:
    """`Dalwick Hawks`."""
    return f"{city(rng)} {rng.pick(words.TEAM_ENDS)}"


def league(rng: SeededRandom) -> str:
    """`Northern Premier League`."""
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(('Premier League', 'Cup', 'Division', 'Series', 'Conference'))}"


def ingredient(rng: SeededRandom) -> str:
    """`Smoky Tofu`."""
    plain = rng.pick(words.INGREDIENTS)
    return plain if rng.chance(0.5) else f"{rng.pick(words.ADJECTIVES_OF_FOOD)} {plain}"


def recipe(rng: SeededRandom) -> str:
    """`Glazed Carrot Tart`."""
    adjective, main = rng.pick(words.ADJECTIVES_OF_FOOD), rng.pick(words.INGREDIENTS)
    return f"{adjective} {main} {rng.pick(words.DISHES)}"


def product(rng: SeededRandom) -> str:
    """`Voltline Kettle`."""
    brand = rng.pick(words.COMPANY_STEMS) + rng.pick(words.COMPANY_ENDS)
    return f"{brand} {rng.pick(words.PRODUCTS)}"


def shop(rng: SeededRandom) -> str:
    """`Cedar & Rose`, `Lantern Market`."""
    if rng.chance(0.5):
        return f"{rng.pick(words.COMPANY_STEMS)} & {rng.pick(words.NOUNS)}"
    return f"{rng.pick(words.NOUNS)} {rng.pick(('Market', 'Store', 'Outlet', 'Depot', 'Corner'))}"


def course(rng: SeededRandom) -> str:
    """`Practical Optics`."""
    return f"{rng.pick(words.COURSE_FORMS)} {rng.pick(words.SUBJECTS)}"


def school(rng: SeededRandom) -> str:
    """`Talavdale College`."""
    return f"{city(rng)} {rng.pick(('College', 'University', 'Institute', 'Academy'))}"


def event(rng: SeededRandom) -> str:
    """`Crimson Echo Festival`."""
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {rng.pick(words.EVENTS)}"


def venue(rng: SeededRandom) -> str:
    """`Orchard Hall`."""
    return f"{rng.pick(words.NOUNS)} {rng.pick(words.VENUES)}"


def clinic(rng: SeededRandom) -> str:
    """`Silver Shore Clinic`."""
    kind = rng.pick(("Clinic", "Medical Center", "Hospital", "Health Center"))
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {kind}"


def carrier(rng: SeededRandom) -> str:
    """`Rapid Freight`."""
    return f"{rng.pick(words.COMPANY_STEMS)} {rng.pick(('Freight', 'Express', 'Cargo', 'Couriers', 'Post'))}"


def depot(rng: SeededRandom) -> str:
    """`Iron Canyon Depot`."""
    return f"{rng.pick(words.ADJECTIVES)} {rng.pick(words.NOUNS)} {rng.pick(('Depot', 'Hub', 'Terminal'))}"


def job(rng: SeededRandom) -> str:
    """`Senior Data Analyst`."""
    rank = rng.pick(("Junior ", "Senior ", "Lead ", "Deputy ", ""))
    return f"{rank}{rng.pick(words.JOBS)} ({rng.pick(words.COMPANY_STEMS)} team)"


def coded(rng: SeededRandom, pattern: str) -> str:
    """Return a code such as `KX482` from a pattern of `A` (a letter) and `0` (a digit)."""
    return "".join(chr(65 + rng.below(26)) if sign == "A" else str(rng.below(10)) for sign in pattern)


def currency(rng: SeededRandom) -> str:
    """`Belian crown`."""
    return f"{rng.pick(words.PLACE_STARTS)}ian {rng.pick(('crown', 'dinar', 'florin', 'mark', 'peso', 'rand'))}"
