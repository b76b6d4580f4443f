"""Normalised words, so that documentation, queries and field names can be compared."""

import re
from collections.abc import Mapping
from functools import lru_cache

WordSet = frozenset[str]
Lexicon = Mapping[str, WordSet]
"""Synonyms (`delivery`, `city`) by field name (`ship_to`); see `envs.toolworld_discrete.toolworld_lexicon`."""

_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_PHRASES = (("how many", "number"), ("called", "name"))


@lru_cache(maxsize=65536)
def split_words(text: str) -> tuple[str, ...]:
    """Return the lower-case words of a text or an identifier (`hotelId`, `hotel_id`, `Hotel id`)."""
    return tuple(part.lower() for part in _PART.findall(text))


_STOP = frozenset(
    split_words(
        "a all an and any are as at be by called can did do does for from get give has have i in is it its look me my "
        "need of on one or our please s show tell that the their there they this to two up want was were what which "
        "will with you find id ids key code ref reference whose"
    )
)


@lru_cache(maxsize=65536)
def words_of(text: str) -> WordSet:
    """Return the content words of a text or an identifier: lower case, singular, without function words."""
    return frozenset(_singular(part) for part in split_words(text)) - _STOP


def query_words(query: str) -> WordSet:
    """Return `words_of(query)`, plus words for phrases: `how many` adds `number`."""
    lower = query.lower()
    return words_of(query) | {word for phrase, word in _PHRASES if phrase in lower}


def field_words(name: str, lexicon: Lexicon) -> WordSet:
    """Return the words of a parameter's or field's name, with the synonyms of the lexicon."""
    return words_of(name) | lexicon.get("_".join(split_words(name)), frozenset())


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us")) else word
