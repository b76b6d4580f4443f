"""Choice among several names in an answer: denials, alternatives, comparisons."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from steptool_env.toolworld.answers.mentions import Word

_ARTICLES = frozenset({"the", "a", "an", "one", "called", "named", "dr"})
_JOINS = frozenset({"and", "or", "also", "plus", "nor", "both", "either", "as", "well"})
_DOUBTS = """
    or maybe perhaps possibly might could alternatively otherwise either unless probably else potentially conceivably
"""
_DOUBT = frozenset(_DOUBTS.split())
_AGAINST = frozenset({"vs", "versus", "to", "with", "against"})
_DENIALS = frozenset({"not", "nor", "neither", "rather than", "instead of", "no longer", "isn t", "wasn t", "hasn t",
                      "aren t", "except"})  # fmt: skip
_AUXILIARIES = frozenset({"been", "be", "being", "yet", "currently", "actually", "marked", "listed", "shown"})
_DENIED_LATER = (("is", "not"), ("was", "not"), ("isn", "t"), ("wasn", "t"), ("is", "wrong"), ("is", "incorrect"))
_TIES = "of in for from at by with near to as on since under within into via per regarding about concerning"
_PREPOSITIONS = frozenset(_TIES.split())
_PARTITIVE = frozenset({"one", "any", "either", "some", "each", "all", "none", "which", "neither"})
_SCOPES = frozenset({"of", "between", "among", "whether", "from", "comparing", "compare", "compared", "both", "either"})
_HIGHER = """
    higher highest more most larger largest greater greatest bigger biggest longer longest heavier heaviest taller
    tallest
    faster fastest pricier costlier dearer hotter warmer newer later better best winner wins won leads leading tops top
    beats exceeds surpasses outranks ahead answer so therefore hence thus result conclusion namely
"""
_LOWER = """
    lower lowest less least fewer fewest smaller smallest shorter shortest cheaper cheapest lighter lightest slower
    slowest
    behind trails loses lost older cooler colder worse
"""
_ASIDE = "than versus vs compared against over exceeds surpasses beats outranks unlike behind"
_MORE, _LESS, _REFERENCES = frozenset(_HIGHER.split()), frozenset(_LOWER.split()), frozenset(_ASIDE.split())
_ENDS = re.compile(r"[.,;!?\n—–|](?!\d)|\s-\s")
_CLAUSES = frozenset({"while", "whereas", "but", "and", "so", "therefore", "hence", "thus", "though", "although",
                      "because", "since"})  # fmt: skip
_VERSUS = frozenset({"vs", "versus"})
_ARROW = re.compile(r"[→>]")
_NEAR = 8
"""Largest number of words between two names that a word of doubt makes alternatives, or from *vs* to a colon."""


class Named(NamedTuple):
    """A mention in one column: its words `[first, last)` and the matching names."""

    first: int
    last: int
    names: frozenset[str]


class Selection:
    """Analysis of the mentions of one column in an answer.

    Args:
        words: Words of the answer.
        labels: Words for the entity type, which may stand between an article and a name.
    """

    def __init__(self, words: Sequence[Word], labels: Collection[str]) -> None:
        self._words = words
        self._fillers = _ARTICLES.union(labels)
        self._scoped: set[int] = set()  # indices of words that only name the operands of a comparison

    def is_denied(self, mention: Named, judged: bool = False) -> bool:
        """Return True if the answer denies a mention; with `judged` only by words before it."""
        place = self._before(mention.first)
        tied = place > 0 and self._words[place - 1].text in _PREPOSITIONS
        places = (place, place - 1) if tied else (place, self._after_verb(place))  # "not in Talby", "not yet been paid"
        if any(map(self._follows_denial, places)):
            return True
        rest = self._words[mention.last : mention.last + 12]
        if judged or not rest:
            return False
        if rest[0].text == "no" and "?" in rest[0].before:
            return True
        later = tuple(word.text for word in rest[:2])
        if later not in _DENIED_LATER or _ENDS.search(rest[0].before):
            return False
        end = next((place for place, word in enumerate(rest) if _ENDS.search(word.before)), len(rest))
        return all(word.text != "but" for word in rest[:end])  # "is not the smallest but the largest"

    def are_alternatives(self, one: Named, other: Named, measured: bool) -> bool:
        """Return True if two successive mentions are alternatives: `A or B`, `A, B`, `A. Maybe B`.

        Args:
            one: First mention.
            other: Second mention.
            measured: A number between them belongs to the first, as in a comparison (`A: 5, B: 4`).
        """
        between = self._words[one.last : other.first]
        texts = {word.text for word in between}
        if texts & _DOUBT and len(between) <= _NEAR:
            return True
        if not all(text in self._fillers or text in _JOINS or (text.isdigit() and not measured) for text in texts):
            return False
        gaps = "".join(word.before for word in self._words[one.last : other.first + 1])
        if _ARROW.search(gaps):
            return False
        return bool(texts & _JOINS) or not self._is_adjunct(one)

    def without_scope(self, mentions: Sequence[Named]) -> list[Named]:
        """Return the mentions without operands of a comparison: `of A and B`, `comparing A to B`."""
        kept: list[Named] = []
        for group in self._groups(mentions):
            place = self._before(group[0].first)
            if len(group) == 1 or place == 0 or self._words[place - 1].text not in _SCOPES:
                kept += group
            else:
                self._scoped.update(range(place - 1, group[-1].last))
        return kept

    def chosen(self, mentions: Sequence[Named]) -> frozenset[str]:
        """Return the names that the answer chooses in its comparison."""
        chosen, rejected, stated = set[str](), set[str](), set[str]()
        for words in self._clauses():
            clause = words - self._scoped
            inside = [mention for mention in mentions if mention.first in clause]
            if not inside and not clause:
                continue
            self._judge(sorted(clause), inside, chosen, rejected, stated)
        return frozenset(chosen or stated) - rejected if not chosen & rejected else frozenset(chosen)

    def _judge(
        self, clause: list[int], inside: Sequence[Named], chosen: set[str], rejected: set[str], stated: set[str]
    ) -> None:
        texts = [self._words[place].text for place in clause]
        own = {place for mention in inside for place in range(mention.first, mention.last)}
        others = {text for place, text in zip(clause, texts, strict=True) if place not in own}
        cut = next(
            (place for place, text in zip(clause, texts, strict=True) if text in _REFERENCES and place not in own), None
        )
        subjects = [each for each in inside if cut is None or each.first < cut]
        references = [each for each in inside if cut is not None and each.first > cut]
        stated.update(name for each in subjects for name in each.names)
        less, more = bool(others & _LESS), bool(others & _MORE)
        if not less and not more:
            return
        if "not" in others or "t" in others:
            less = not less
        winners, losers = (references, subjects) if less else (subjects, references)
        if len(winners) <= 1:
            chosen.update(name for each in winners for name in each.names)
        if len(losers) <= 1:
            rejected.update(name for each in losers for name in each.names)

    def _clauses(self) -> Iterator[frozenset[int]]:
        """Yield the word indices of each clause; a parenthesis is a clause of its own."""
        open_: list[list[int]] = [[]]
        for place, word in enumerate(self._words):
            for sign in word.before:
                if sign in "([":
                    open_.append([])
                elif sign in ")]" and len(open_) > 1:
                    yield frozenset(open_.pop())
            if word.text in _CLAUSES or self._ends(open_[-1], word.before):
                yield frozenset(open_[-1])
                open_[-1] = []
            open_[-1].append(place)
        yield from map(frozenset, open_)

    def _ends(self, clause: Sequence[int], before: str) -> bool:
        """Return True if the signs before a word end the open clause, unless it is `Therefore` alone."""
        if ":" in before and any(self._words[place].text in _VERSUS for place in clause[-_NEAR:]):  # "A vs B: B wins"
            return True
        if len(clause) == 1 and self._words[clause[0]].text in _CLAUSES:
            return False
        return _ENDS.search(before) is not None

    def _groups(self, mentions: Sequence[Named]) -> Iterator[list[Named]]:
        group: list[Named] = []
        for mention in mentions:
            if group and not self._is_joined(group[-1], mention):
                yield group
                group = []
            group.append(mention)
        if group:
            yield group

    def _is_joined(self, one: Named, other: Named) -> bool:
        between = [word.text for word in self._words[one.last : other.first]]
        joins = [text for text in between if text in _JOINS or text in _AGAINST]
        return bool(joins) and all(text in self._fillers or text in joins for text in between)

    def _is_adjunct(self, mention: Named) -> bool:
        """Return True if a preposition precedes a mention: `in Talby, ...`, `unlike Talby, ...`."""
        place = self._before(mention.first)
        if place == 0 or self._words[place - 1].text not in _PREPOSITIONS | _REFERENCES:
            return False
        return place < 2 or self._words[place - 2].text not in _PARTITIVE

    def _before(self, place: int) -> int:
        """Return the index after the last word before a mention that is neither article nor label."""
        while (
            place > 0 and self._words[place - 1].text in self._fillers and not _ENDS.search(self._words[place].before)
        ):
            place -= 1
        return place

    def _after_verb(self, place: int) -> int:
        """Return the index of the first auxiliary verb directly before an index."""
        while place > 0 and self._words[place - 1].text in _AUXILIARIES and not _ENDS.search(self._words[place].before):
            place -= 1
        return place

    def _follows_denial(self, place: int) -> bool:
        before = [word.text for word in self._words[max(0, place - 2) : place]]
        if _DENIALS.isdisjoint((" ".join(before), *before[-1:])):
            return False
        return place >= len(self._words) or not _ENDS.search(self._words[place].before)
