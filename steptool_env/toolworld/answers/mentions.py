"""Search for the names of a world in a text: whole words, longest match first, over all entity types."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from steptool_env.toolworld.answers.parsing import fold
from toolserver.world.world import World

_WORD = re.compile(r"([^\W_]+)")
_APART = re.compile(r"[,;:|\n]")
_LEADS = ("the", "dr")
"""Optional first words of a name, unless two names of a column differ by them alone."""

Attributes = frozenset[str]


class Word(NamedTuple):
    """One word of an answer.

    Attributes:
        text: Folded word.
        start: Index of the first character.
        end: Index after the last character.
        before: Text between the previous word and this one.
    """

    text: str
    start: int
    end: int
    before: str


class Mention(NamedTuple):
    """A name in an answer.

    Attributes:
        first: Index of the first word.
        last: Index after the last word.
        names: Folded name that matches -> columns (`city.name`) that hold it.
    """

    first: int
    last: int
    names: Mapping[str, Attributes]

    def of(self, attribute: str) -> frozenset[str]:
        """Return the matching names of one column."""
        return frozenset([name for name, attributes in self.names.items() if attribute in attributes])


class Names:
    """Index of names for the search in answers.

    Args:
        names: Pairs of a name and the column that holds it.
    """

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        found: dict[str, dict[str, set[str]]] = {}
        for name, attribute in names:
            keys = _keys(name)
            for key in (*keys, *(f"{each}s" for each in keys)) if attribute == "currency.name" else keys:
                found.setdefault(key, {}).setdefault(fold(name), set()).add(attribute)
        self._names = {
            key: {name: frozenset(attributes) for name, attributes in each.items()} for key, each in found.items()
        }
        lengths: dict[str, set[int]] = {}
        for key in self._names:
            first, *rest = key.split(" ")
            lengths.setdefault(first, set()).add(len(rest) + 1)
        self._lengths = {first: sorted(each, reverse=True) for first, each in lengths.items()}

    def find(self, words: Sequence[Word]) -> list[Mention]:
        """Return the names in a text from left to right; the longest of overlapping ones."""
        found: list[Mention] = []
        lengths, place = self._lengths, 0
        while place < len(words):
            mention = self._at(words, place) if words[place].text in lengths else None
            if mention is not None:
                found.append(mention)
                place = mention.last
            else:
                place += 1
        return found

    def _at(self, words: Sequence[Word], place: int) -> Mention | None:
        for length in self._lengths[words[place].text]:
            part = words[place : place + length]
            names = self._names.get(" ".join([word.text for word in part])) if len(part) == length else None
            if names is not None and not any(_APART.search(word.before) for word in part[1:]):
                return Mention(place, place + length, _exact_matches(names, words[place - 1].text if place else ""))
        return None


class AnswerText:
    """Text, words and mentioned names of an answer."""

    def __init__(self, text: str, names: Names) -> None:
        self.text = text
        self.words = words_of(text)
        self.mentions = names.find(self.words)

    @property
    def plain(self) -> str:
        """Text without names."""
        return without(self.text, self.words, self.mentions) if self.mentions else self.text


@lru_cache(maxsize=8)
def names_of(world: World) -> Names:
    """Return the names of all rows of a world. Finding them takes 20 ms (`lite`) to 250 ms (`full`)."""
    return Names(
        (name, f"{entity}.{kind.attributes[0].name}")
        for entity, kind in world.entities.items()
        for name in world.table(entity).names
    )


def words_of(text: str) -> list[Word]:
    """Return the folded words of a text."""
    # Text between words, word, text between words, word, ..., text after the last word.
    parts = _WORD.split(text.lower() if text.isascii() else text)
    ends = list(accumulate(map(len, parts)))
    words = parts[1::2] if text.isascii() else map(fold, parts[1::2])
    return list(map(Word, words, ends[::2], ends[1::2], parts[::2]))


def without(text: str, words: Sequence[Word], mentions: Iterable[Mention]) -> str:
    """Return a text of the same length with the mentions blanked, so that their digits are not read as numbers."""
    parts, end = list[str](), 0
    for mention in mentions:
        start = words[mention.first].start
        parts += (text[end:start], "\x00" * (words[mention.last - 1].end - start))
        end = words[mention.last - 1].end
    return "".join((*parts, text[end:]))


def _keys(name: str) -> tuple[str, ...]:
    """Return the folded spellings of a name without its optional first word."""
    folded = fold(name)
    first, _, rest = folded.partition(" ")
    key = rest if rest and first in _LEADS else folded
    return (key, fold(name.replace("&", " and "))) if "&" in name else (key,)


def _exact_matches(names: Mapping[str, Attributes], before: str) -> Mapping[str, Attributes]:
    """Return, per column, the exact match among names that differ by their optional first word alone."""
    if len(names) == 1:
        return names
    lead = before if before in _LEADS else ""
    exact = {
        name: each
        for name, each in names.items()
        if (name.partition(" ")[0] if name.split(" ")[0] in _LEADS else "") == lead
    }
    taken = frozenset[str]().union(*exact.values()) if exact else frozenset[str]()
    return {**exact, **{name: each - taken for name, each in names.items() if name not in exact}}
