"""Lexicon of units, currencies and magnitudes: word or symbol -> meanings.

The factors are those of pint's registry; a test compares each one. The registry itself is not used: it takes 0.4 s to
load, and most of its 1,000 names are ordinary words in an answer ("are", "at", "point").
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from steptool_env.toolworld.answers import unit_words

_RATIO = re.compile(r"(?P<above>[^/]+?) (?:per|an?|pro|par|por|al|all|à|/) (?P<below>\S+)")
_POWER = re.compile(
    r"(?:(?P<before>square|sq|cubic|cu)(?: \.)? )?(?P<base>[^ 23²³]+?)(?P<after>[23²³]| ?\^ ?[23])?", re.IGNORECASE
)


class Unit(NamedTuple):
    """One meaning of a word or symbol.

    Attributes:
        dimension: `length`, `mass`, ...; `ratio` for percent, `scale` for magnitudes, `currency` for money.
        factor: Size in the dimension's base unit.
        offset: Offset that is added after the factor, for temperatures.
        code: ISO 4217 code of a currency; else empty.
    """

    dimension: str
    factor: float
    offset: float = 0.0
    code: str = ""


@cache
def lexicon() -> dict[str, tuple[Unit, ...]]:
    """Return word, phrase or symbol -> meanings. Symbols keep their case; parts are separated by blanks."""
    found: dict[str, dict[Unit, None]] = {}
    for word, unit in _entries():
        found.setdefault(word.replace("_", " "), {})[unit] = None
    for line in unit_words.ELSEWHERE.strip().splitlines():
        english, words = line.strip().split("|")
        units = found[english.replace("_", " ")]
        for word in words.split():
            found.setdefault(word.replace("_", " ").lower(), {}).update(units)
    return {word: tuple(units) for word, units in found.items()}


@lru_cache(maxsize=8192)
def meanings(word: str) -> tuple[Unit, ...]:
    """Return the meanings of a word, symbol or phrase as written, else in lower case; empty if it is not a unit.

    Powers and speeds are composed: `square miles`, `km²`, `sq ft`, `m / s`, `kilometres per hour`.
    """
    table = lexicon()
    found = table.get(word) or table.get(word.lower())
    if found:
        return found
    if (ratio := _RATIO.fullmatch(word)) is not None:
        above, below = _of(ratio["above"], "length"), _of(ratio["below"], "time")
        return (Unit("speed", above.factor / below.factor),) if above and below else ()
    if (power := _POWER.fullmatch(word)) is not None:
        length = _of(power["base"], "length")
        cubic = (power["before"] or "").lower().startswith("cu") or (power["after"] or "")[-1:] in ("3", "³")
        return (Unit("volume", length.factor**3) if cubic else Unit("area", length.factor**2),) if length else ()
    return ()


def _of(word: str, dimension: str) -> Unit | None:
    """Return the meaning of a word in one dimension."""
    found = lexicon().get(word) or lexicon().get(word.lower(), ())
    return next((unit for unit in found if unit.dimension == dimension), None)


def _entries() -> Iterator[tuple[str, Unit]]:
    yield from _physical()
    yield from ((word, Unit("area", 1.0)) for word in ("sqm", "square_metres"))
    yield from ((word, Unit("area", 1e6)) for word in ("sqkm", "square_kilometres"))
    yield "sqft", Unit("area", 0.3048**2)
    for word, size in unit_words.MAGNITUDES.items():
        yield word, Unit("scale", float(size))
    yield from _money()


def _physical() -> Iterator[tuple[str, Unit]]:
    for dimension, lines in unit_words.TABLE.items():
        for line in lines.strip().splitlines():
            name, factor, words = line.strip().split("|")
            unit = Unit(dimension, float(factor))
            for word in (name, *words.split()):
                yield word, unit
                if len(word) > 3 and word.isascii():
                    yield f"{word}s", unit
    for dimension, size, symbol, spellings in unit_words.PREFIXED:
        for prefix, (multiple, short) in unit_words.PREFIXES.items():
            unit = Unit(dimension, size * multiple)
            if short + symbol not in unit_words.NO_SYMBOLS:
                yield short + symbol, unit
            for spelled in spellings.split():
                yield from ((prefix + spelled + plural, unit) for plural in ("", "s"))
    yield from (("L", Unit("volume", 1e-3)), ("mL", Unit("volume", 1e-6)), ("Kg", Unit("mass", 1.0)))
    yield from ((word, Unit("mass", 1.0)) for word in ("kilo", "kilos", "kgs"))
    yield from ((word, Unit("length", 1000.0)) for word in ("kms", "klick", "klicks"))
    yield from (
        (word, Unit("energy", 4184.0)) for word in ("Cal", "Calorie", "Calories", "calorie", "calories", "kcals")
    )
    for kelvins, offset, words in unit_words.TEMPERATURES.values():
        yield from ((word, Unit("temperature", kelvins, offset)) for word in words.split())


def _money() -> Iterator[tuple[str, Unit]]:
    yield from ((word, Unit("currency", 1.0, code="USD")) for word in unit_words.DOLLARS.split())
    yield from ((word, Unit("currency", 0.01, code="USD")) for word in unit_words.CENTS.split())
    for code, words in unit_words.CURRENCIES.items():
        yield from ((word, Unit("currency", 1.0, code=code)) for word in words.split())
    for code in unit_words.CODES.split():
        yield code, Unit("currency", 1.0, code=code)
        if code.lower() in unit_words.SPELLED:
            yield code.lower(), Unit("currency", 1.0, code=code)
