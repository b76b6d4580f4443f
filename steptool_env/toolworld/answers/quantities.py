"""Numbers in an answer, each with every meaning that its unit allows."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from steptool_env.toolworld.answers.number_words import in_digits
from steptool_env.toolworld.answers.unit_words import CODES, ORDINARY
from steptool_env.toolworld.answers.units import Unit, meanings

_BLANK = "[ \t\u00a0\u2009\u202f]"
_SYMBOLS = "$€£¥₹₽₩₺₴₫฿₪₦₱₿₡₸₾"
_DIGITS = (
    r"\d{1,3}(?:\.\d{3})+,\d+(?!\d)"  # 1.234,5
    r"|\d{1,3}(?:\.\d{3}){2,}(?![\d.,]?\d)"  # 1.234.567
    r"|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!,?\d)"  # 1,234.5
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!\d)"  # 12,34,567
    "|\\d{1,3}(?P<gap>[ \u00a0\u2009\u202f'’_])\\d{3}(?:(?P=gap)\\d{3})*(?:[.,]\\d+)?(?!\\d)"  # 1 234,5
    r"|(?<!\d,)(?:\d+,(?:\d{1,2}|\d{4,})|0,\d+|\d{4,},\d+)(?!,?\d)"  # 12,5
    r"|\d+(?:\.\d+)?|\.\d+"
)
_MONEY = rf"(?:\b[A-Z]{{1,3}} ?)?[{_SYMBOLS}]|\b(?:{'|'.join(CODES.split())})(?![A-Za-z])|\b(?:usd|eur|gbp|[rR]s)\b\.?"
_NUMBER = re.compile(
    r"(?<![\w.])(?P<word>\x02?)(?P<sign>[-−–](?![ \u00a0])|(?:minus|negative) )?"
    rf"(?P<money>{_MONEY})?"
    rf"{_BLANK}?(?P<inner>[-−–]?)(?P<digits>{_DIGITS})(?P<power>[eE][+-]?\d{{1,2}}(?!\w))?",
)
_TOKEN = re.compile(
    rf"(?:{_BLANK}{{0,2}}-?)([^\W\d_]+[²³]?(?:[23](?!\d))?|[°℃℉%‰¢{_SYMBOLS}]|\^ ?[23]|/(?= ?[^\W\d_])"
    r"|\.(?= ?(?:ft|mi|km|m|in|yd|S\.?)\b))"
)
_OF_SCALE = re.compile(
    r"(?:\s+(?:stars?|points?))?\s*(?:/|out of|of)\s*(\d+(?:\.0+)?|five|ten)(?![\w.]*\d)", re.IGNORECASE
)
_PER = re.compile(
    r"(?:\s+(?:[^\W\d_]+|\x00+))?\s*(?:/(?! \d)|\b(?:per|every|each|an?|pro|par|por|al|à)\b)\s*(\d+)?\s*([^\W\d_]+)",
    re.IGNORECASE,
)
_IN_FULL = re.compile(r"\s*(?:$|[.;,)\]]|of (?:rain|precip))")
_HEADER = re.compile(
    r"(?:\((?P<a>[^()\d]{1,24})\)|\bin (?P<b>[^\W\d_]+(?: [^\W\d_]+){0,2})|_(?P<c>[^\W\d_]+))[\"']?\s*"
    r"(?::|=|\bis\b|\bwas\b|\bequals\b|\|)[^\d.;\n]{0,12}$"
)
_KEY = re.compile(r"\w+")
_NAMED_LATER = re.compile(r'"?\s*,\s*"(?:units?|currency)"\s*:\s*"([^"]+)"', re.IGNORECASE)
_DENIED = re.compile(
    r"(?:\bnot|n['’]t|\brather than|\binstead of|\bneither|\bnor|\bno longer)\s+(?:the |an? |at |in |for |be )?$",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:\b(?:more|less|fewer|greater|higher|lower|larger|smaller|longer|shorter|heavier|lighter|cheaper) than"
    r"|\b(?:over|under|above|below|at least|at most|up to|exceeding|before|after|prior to)|[<>≤≥])\s*$",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"(?:\b(?:about|around|roughly|approximately|approx\.?|circa|ca\.?|nearly|almost|some|rounded(?: to)?)|[~≈])\s*$",
    re.IGNORECASE,
)
_COMPASS = re.compile(r"[\s\u00a0]*(?:[sSwW]\b|(?:south|west)\b)", re.IGNORECASE)
_COMPASS_BEFORE = re.compile(r"(?:\b[SW]|\b[sS]outh|\b[wW]est)[\s:]*$")
_BELOW = re.compile(r"\s*below (?:zero\b|\x02?0\b|freezing\b)", re.IGNORECASE)
_BEFORE_CHRIST = re.compile(r"\s*(?:BCE?\b|B\.C\.)")
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_SCALES = {"5": 5.0, "10": 10.0, "100": 100.0, "five": 5.0, "ten": 10.0}
_OPEN = re.compile(r"\+|\s+or (?:more|less|fewer|higher|lower|above|below|earlier|later)\b", re.IGNORECASE)
_JOINED = re.compile(r"(?:\s|,|&|\b(?:and|und|et|y|e|en)\b)*", re.IGNORECASE)
_CLOCKED = re.compile(
    r"\b(\d{1,4}):(\d{2})(?::(\d{2}))?\s*(?:h|hrs?|hours?)\b|\b(\d{1,6})\s*h(?:ours?|rs?)?\s*(\d{1,2})(?![.,]\d)(?:\s*m(?:in(?:ute)?s?)?)?\b"
)
_MOST_ZEROS = 300  # 10.0**309 overflows
_SHORT_SCALES = frozenset("kKmMbBT")
_NONE = "a an the and or to for from in at on of by with per each every within over plus is was are were times one next"
_NO_ADJECTIVES = frozenset(_NONE.split())


class Reading(NamedTuple):
    """One meaning of a number: value and unit; `None` for a plain number or an ordinary word after it."""

    value: float
    unit: Unit | None


class Quantity(NamedTuple):
    """A number in a text.

    Attributes:
        value: Number without its unit.
        readings: Possible meanings.
        start: Index of the first character.
        end: Index after the last character, unit included.
        per: Denominator (`per night`: `(1, "night")`).
        scale: Upper end of the stated scale (`2.3 out of 5`: 5); 0 without one.
        step: Unit of the last digit of a number that is marked as rounded ("about 1.9 million"); else 0.
        last: Unit of the last digit.
        bounded: The number is only a bound (`more than 5`).
        passing: The number is small and spelled out, so it contradicts nothing.
        word: Word after the number in lower case; empty if it has a unit.
        gap: Text between the previous number, or the start, and this one.
    """

    value: float
    readings: tuple[Reading, ...]
    start: int = 0
    end: int = 0
    per: tuple[float, str] | None = None
    scale: float = 0.0
    step: float = 0.0
    last: float = 0.0
    bounded: bool = False
    passing: bool = False
    word: str = ""
    gap: str = ""


def quantities(text: str, words: frozenset[str] = frozenset(), durations: bool = False) -> tuple[Quantity, ...]:
    """Return the numbers of a text in order, without denied ones ("not 12"), ordinals and list numbers.

    Args:
        text: Text without names, dates and times of day.
        words: Words of the text in lower case.
        durations: Read `2:15 h` and `2h15` as durations.
    """
    if durations:
        text = _CLOCKED.sub(_minutes, text)
    text = in_digits(text, words)
    return tuple(_merged(text, _each(text)))


def number_alone(text: str) -> Quantity:
    """Return the only quantity of a text that is a number in digits, as `quantities` does."""
    value, digits = float(text), text.lstrip("-")
    readings = tuple([Reading(each, None) for each in _alternatives(value, digits)])
    return Quantity(value, readings, 0, len(text), last=_step(digits, 1.0))


def _each(text: str) -> list[Quantity]:
    found: list[Quantity] = []
    end = 0
    for match in _NUMBER.finditer(text):
        if match.start("digits") >= end:  # not the 5 of "2.3 out of 5"
            quantity = _quantity(text, match, text[end : match.start()])
            if quantity is not None:
                found.append(quantity)
                end = quantity.end
    return found


def _minutes(match: re.Match[str]) -> str:
    hours, minutes, seconds = match[1] or match[4], match[2] or match[5], match[3] or "0"
    return f" {int(hours) * 60 + int(minutes) + int(seconds) / 60:g} min "


def _value(digits: str, gap: str | None) -> float:
    if gap:
        return float(digits.replace(gap, "").replace(",", "."))
    comma, point = digits.rfind(","), digits.rfind(".")
    if comma < 0:
        return float(digits.replace(".", "") if digits.count(".") > 1 else digits)
    if point > comma:
        return float(digits.replace(",", ""))
    if point >= 0:
        return float(digits.replace(".", "").replace(",", "."))
    grouped = len(digits) - comma == 4 and (digits.count(",") > 1 or (comma <= 3 and not digits.startswith("0")))
    return float(digits.replace(",", "") if grouped else digits.replace(",", "."))


def _quantity(text: str, match: re.Match[str], gap: str) -> Quantity | None:
    before = text[max(0, match.start() - 24) : match.start()]
    if _DENIED.search(before) is not None:
        return None
    value, end = _signed(text, match), match.end()
    scaled = _OF_SCALE.match(text, end)
    if scaled is not None and (on := _SCALES.get(scaled[1].partition(".")[0].lower())):
        return Quantity(value, (Reading(value, None),), match.start(), scaled.end(), scale=on, gap=gap)
    size, units, end = _unit_after(text, end)
    if units and all(unit.dimension == "scale" for unit, _ in units):  # "1.93M" of a plain number
        size, units = size * units[0][0].factor, []
    units = units or _unit_of_prefix(match["money"])
    if not units and size == 1.0:
        units = _unit_named_apart(text, match.start(), end)
    if _is_negative(text, before, end, units):
        value = -value
    scaled_up = size != 1 or any(unit.dimension == "scale" for unit, _ in units)
    values = (value * size,) if scaled_up else _alternatives(value, match["digits"])
    per, last = _PER.match(text, end), _step(match["digits"], size)
    return Quantity(
        value,
        tuple([reading for each in values for reading in _readings(each, units)]),
        match.start(),
        per.end() if per and per[1] else end,  # the 100 of "per 100 g" is not another number
        (float(per[1] or 1), per[2].lower()) if per else None,
        step=last if size > 1 or _ABOUT.search(before) else 0.0,
        last=last,
        bounded=_BOUND.search(before) is not None or _OPEN.match(text, end) is not None,
        passing=bool(match["word"]),
        word="" if units else _word_after(text, end),
        gap=gap,
    )


def _word_after(text: str, end: int) -> str:
    match = _TOKEN.match(text, end)
    return match[1].lower() if match is not None else ""


def _is_negative(text: str, before: str, end: int, units: Sequence[tuple[Unit, bool]]) -> bool:
    """Return True if words make a number negative: `38.5° W`, `W 38.5°`, `5 °C below zero`."""
    dimensions = {unit.dimension for unit, _ in units}
    if "angle" in dimensions and (_COMPASS.match(text, end) or _COMPASS_BEFORE.search(before)):
        return True
    return "temperature" in dimensions and _BELOW.match(text, end) is not None


def _signed(text: str, match: re.Match[str]) -> float:
    value = _value(match["digits"], match["gap"]) * (10.0 ** int(match["power"][1:]) if match["power"] else 1.0)
    if match["sign"] or match["inner"] or _BEFORE_CHRIST.match(text, match.end()):
        return -value
    return value


def _alternatives(value: float, digits: str) -> tuple[float, ...]:
    """Return the possible values of digits: 1.234 and 1,234 have two, by language."""
    if _AMBIGUOUS.fullmatch(digits) is None:
        return (value,)
    return value, value * 1000 if "." in digits else value / 1000


def _step(digits: str, size: float) -> float:
    """Return the unit of the last significant digit."""
    decimals = len(digits) - 1 - max(digits.rfind("."), digits.rfind(","))
    if "." not in digits or "," in digits[digits.rfind(".") :]:
        whole = re.sub(r"\D", "", digits)
        return size * 10.0 ** min(len(whole) - len(whole.rstrip("0")), _MOST_ZEROS)
    return size * 10.0**-decimals


def _readings(value: float, units: Sequence[tuple[Unit, bool]]) -> Iterator[Reading]:
    if not units:
        yield Reading(value, None)
    for unit, ordinary in units:
        if unit.dimension == "scale":
            yield Reading(round(value * unit.factor, 6), None)
        else:
            yield Reading(value, unit)
        if ordinary:
            yield Reading(value, None)


def _unit_after(text: str, end: int) -> tuple[float, list[tuple[Unit, bool]], int]:
    """Parse the text after a number: magnitude, meanings of the unit, and the index after them."""
    opened = text[end : end + 2].lstrip().startswith(("(", "["))
    tokens = _tokens(text, text.index(text[end : end + 2].strip()[0], end) + 1 if opened else end)
    size, place = 1.0, 0
    while place < len(tokens) and (magnitude := _magnitude(tokens, place)):
        size, place, end = size * magnitude, place + 1, tokens[place][1]
    for last in range(len(tokens), place, -1):
        words = [token for token, _ in tokens[place:last]]
        found = _meanings(" ".join(words))
        if not found and words == ["in"] and _IN_FULL.match(text, tokens[place][1]):
            found = ((Unit("length", 0.0254), False),)
        closed = not opened or text[tokens[last - 1][1] : tokens[last - 1][1] + 1] in (")", "]")
        if found and closed:
            return size, list(found), tokens[last - 1][1] + opened
    if not opened and len(tokens) > place + 1 and (units := _after_adjective(tokens[place][0], tokens[place + 1][0])):
        return size, units, tokens[place + 1][1]
    return size, [], end


def _after_adjective(adjective: str, word: str) -> list[tuple[Unit, bool]]:
    """Return the meanings of a spelled unit after an adjective: `3 working days`."""
    if adjective.lower() in _NO_ADJECTIVES or len(word) < 4 or not word.isalpha():
        return []
    return [(unit, ordinary) for unit, ordinary in _meanings(word) if not ordinary and unit.dimension != "scale"]


def _tokens(text: str, end: int) -> list[tuple[str, int]]:
    tokens: list[tuple[str, int]] = []
    while len(tokens) < 4 and (match := _TOKEN.match(text, end)) is not None:
        tokens.append((match[1], match.end()))
        end = match.end()
    return tokens


def _magnitude(tokens: Sequence[tuple[str, int]], place: int) -> float:
    """Return the magnitude of a token, 0 for any other word; a single letter counts only before a currency."""
    word = tokens[place][0]
    found = meanings(word)
    if not found or found[-1].dimension != "scale":
        return 0.0
    if word in _SHORT_SCALES:
        rest = [token for token, _ in tokens[place + 1 : place + 3]]
        later = meanings(" ".join(rest)) or meanings(rest[0]) if rest else ()
        if not any(unit.dimension == "currency" for unit in later):
            return 0.0
    return found[-1].factor


@lru_cache(maxsize=4096)
def _meanings(phrase: str) -> tuple[tuple[Unit, bool], ...]:
    ordinary = phrase in ORDINARY
    return tuple((unit, ordinary) for unit in meanings(phrase))


def _unit_of_prefix(prefix: str | None) -> list[tuple[Unit, bool]]:
    """Return the currency before a number (`$`, `US$`, `EUR`)."""
    if not prefix:
        return []
    parts = re.findall(rf"[A-Za-z]+|[{_SYMBOLS}]", prefix)
    found = meanings(" ".join(parts))
    if not found and len(parts) > 1:  # a dollar or peso of some country
        found = (Unit("currency", 1.0, code=parts[0]),)
    return [(unit, False) for unit in found if unit.dimension == "currency"]


def _unit_named_apart(text: str, start: int, end: int) -> list[tuple[Unit, bool]]:
    """Return the unit in a heading or key: `Distance (km): 12`, `the price in EUR is 12`, `"price_usd": 12`."""
    before = _HEADER.search(text, max(0, start - 60), start)
    if before is not None:
        label = before["a"] or before["b"] or _KEY.findall(text, max(0, start - 60), before.end("c"))[-1]
        return _unit_of_label(re.findall(r"[^\W\d_]+[²³]?|[^\w\s]", label))
    later = _NAMED_LATER.match(text, end)
    return list(_meanings(later[1])) if later is not None else []


def _unit_of_label(words: list[str]) -> list[tuple[Unit, bool]]:
    """Return the unit that ends a label; not the denominator of a rate (`beats per minute`)."""
    place = next((place for place, word in enumerate(words) if word in ("per", "/")), None)
    if place is None:
        tails = [words, words[-2:], [*words[-2:-1], "/", *words[-1:]], words[-1:]]  # "speed_km_h"
    else:
        above = words[max(0, place - 1) : place]
        tails = [above + words[place:], above, words[place + 2 :]]  # "price_per_night_eur"
    return next((list(found) for tail in tails if (found := _meanings(" ".join(tail)))), [])


def _merged(text: str, found: Sequence[Quantity]) -> list[Quantity]:
    """Merge the parts of one quantity: `2 hours and 15 minutes`, `6 ft 2 in`."""
    merged: list[Quantity] = []  # from the last to the first, so that seconds go into minutes and these into hours
    for each in reversed(found):
        both = _sum(text, each, merged[-1]) if merged else None
        if both is None:
            merged.append(each)
        else:
            merged[-1] = both
    return merged[::-1]


def _sum(text: str, large: Quantity, small: Quantity) -> Quantity | None:
    if small.scale or large.scale or not float(large.value).is_integer():
        return None
    if _JOINED.fullmatch(text, large.end, small.start) is None:
        return None
    for first in large.readings:
        for second in small.readings:
            one, two = first.unit, second.unit
            if one and two and one.dimension == two.dimension != "temperature" and one.code == two.code:
                share = second.value * two.factor / one.factor
                if two.factor < one.factor and (0 <= share < 1 or large.value == 0):
                    whole = first.value + share
                    readings = (Reading(whole, one),)
                    return large._replace(value=whole, readings=readings, end=small.end, per=small.per, passing=False)
    return None
