"""Parser of queries: returns the meanings of a query by the world's patterns, with other code than the generator's.

A query has an opening, steps that introduce one term each, a sentence that asks or orders, and a close. `Parser.read`
returns every meaning that the words can have; an unambiguous query has one.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any, NamedTuple

from steptool_env.toolworld.wording import frames
from steptool_env.toolworld.wording.frames import Frame
from steptool_env.toolworld.wording.templates import CODED, PEOPLE, PLACES, UNITS
from steptool_env.toolworld.wording.terms import CONST, ID, NAMED, Term
from tests.steptool_env.toolworld.meaning import Meaning, normal
from tests.steptool_env.toolworld.query_rules import PatternSlots, QueryRules, Rule, Rules
from toolserver.world.schema import SemanticType, Slot, ValueKind
from toolserver.world.world import World

_ID = re.compile(r"[A-Z]+\d+")
_WORD = re.compile(r"\s?[^\s]+?(?=[\s,.?]|'s|$)|'s|\.")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ISO, _LONG_DATE = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"(\d{1,2}) ([A-Z][a-z]+) (\d{4})")
_PERSON = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+")
_MONTHS = {date(2031, month, 1).strftime("%B"): month for month in range(1, 13)}
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


class Introduced(NamedTuple):
    """An introduced term, the noun that refers to it, and its entity type (empty for a value)."""

    term: Term
    handle: str
    entity: str


Terms = tuple[Introduced, ...]


class Parser:
    """Parser of the queries of a world.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = QueryRules(world)
        self.phrases = self.rules.phrases
        self.names = {entity: frozenset(world.table(entity).names) for entity in world.entities}
        self.invented = ""
        self._read: dict[tuple[Any, ...], list[Any]] = {}

    def read(self, query: str, invented: str = "") -> set[Meaning]:
        """Return every meaning of a query. `invented` is a name in it that no table has."""
        self.invented, self._read = invented, {}
        level = self.world.level.name
        found: set[Meaning] = set()
        for category, by_level in (("nouns", frames.NOUNS), ("nouns", frames.THINGS), ("clauses", frames.CLAUSES),
                               ("clauses", frames.QUESTIONS), ("orders", frames.ORDERS)):  # fmt: skip
            for frame in by_level[level]:
                body = _stripped(query, frame)
                if body is not None:
                    found |= set(self._body(body, frame, category, ()))
        return set(map(normal, found))

    # Sentences.

    def _body(self, text: str, frame: Frame, category: str, introduced: Terms) -> Iterator[Meaning]:
        """Iterate over the meanings of steps before a sentence in the frame."""
        before, _, after = frame.ask.partition("{it}")
        for be in ("What is", "What are", "Who is", "Who are", "Which is") if "{be}" in before else ("",):
            start = before.replace("{be}", be)
            if text.startswith(start) and text.endswith(after):
                inside = text[len(start) : len(text) - len(after)]
                yield from self._inside(inside, category, introduced, is_start=not start)
        for end, more in self._step(text, 0, introduced):
            if text[end : end + 2] == ". ":
                yield from self._body(text[end + 2 :], frame, category, more)
            elif text[end : end + 5] == " and ":
                for last, both in self._step(text, end + 5, more):
                    if text[last : last + 2] == ". ":
                        yield from self._body(text[last + 2 :], frame, category, both)

    def _inside(self, text: str, category: str, introduced: Terms, is_start: bool) -> Iterator[Meaning]:
        text = _lowered(text) if is_start else text
        for rule in self.rules.asks[category].at(text, 0):
            for end, args in self._match(rule, text, 0, introduced):
                if end == len(text):
                    yield rule.build(args)

    def _step(self, text: str, start: int, introduced: Terms) -> list[tuple[int, Terms]]:
        return self._once(("step", text, start, introduced), lambda: self._steps(text, start, introduced))

    def _once(self, key: tuple[Any, ...], read: Callable[[], Iterable[Any]]) -> list[Any]:
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = list(read())
        return found

    def _steps(self, text: str, start: int, introduced: Terms) -> Iterator[tuple[int, Terms]]:
        text = text[:start] + _lowered(text[start:])
        for rule in self.rules.steps.at(text, start):
            for end, args in self._match(rule, text, start, introduced):
                yield end, (*introduced, Introduced(rule.build(args), rule.handle, rule.entity))
        for verb in frames.INTRODUCTIONS["thing"]:
            before = verb.format(it="")
            if text.startswith(before, start):
                for entity in self.world.entities:
                    for end, term in self._atom(text, start + len(before), entity):
                        yield end, (*introduced, Introduced(term, self.phrases.noun(entity), entity))

    def _match(
        self, rule: Rule, text: str, at: int, introduced: Terms, index: int = 0
    ) -> Iterator[tuple[int, dict[str, Term]]]:
        """Iterate over the matches of the pieces from `index` on at a place, with their ends."""
        if index == len(rule.pieces):
            yield at, {}
            return
        piece = rule.pieces[index]
        if "{" not in piece:
            if text.startswith(piece, at):
                yield from self._match(rule, text, at + len(piece), introduced, index + 1)
            return
        for end, args in self._slot(piece, rule.slots, text, at, introduced):
            for last, more in self._match(rule, text, end, introduced, index + 1):
                yield last, args | more

    def _slot(
        self, piece: str, slots: PatternSlots, text: str, at: int, introduced: Terms
    ) -> Iterator[tuple[int, dict[str, Term]]]:
        name = piece[piece.index("{") + 1 : piece.index("}")]
        slot = slots[name]
        if name == "pair":
            for end, first, second in self._pair(text, at, str(slot), introduced):
                yield end, {"first_id": first, "second_id": second}
            return
        entity = slot if isinstance(slot, str) else slot.type.entity if slot.type.kind is ValueKind.ID else ""
        if introduced and introduced[-1].entity == entity != "":
            if piece.startswith("in ") and entity in PLACES and text.startswith("there", at):
                yield at + 5, {name: introduced[-1].term}
            its = "their" if entity in PEOPLE else "its"
            if piece.endswith("'s") and text.startswith(its, at):
                yield at + len(its), {name: introduced[-1].term}
        before, _, after = piece.partition(f"{{{name}}}")
        if text.startswith(before, at):
            at += len(before)
            found = self._row_of(entity, text, at, introduced) if entity else self._value_of(slot, text, at, introduced)
            for end, term in found:
                if text.startswith(after, end):
                    yield end + len(after), {name: term}

    # Rows and values.

    def _row_of(self, entity: str, text: str, at: int, introduced: Terms) -> list[tuple[int, Term]]:
        def read() -> Iterator[tuple[int, Term]]:
            yield from self._atom(text, at, entity)
            yield from self._back(text, at, introduced, entity)
            yield from self._ruled(self.rules.rows[entity], text, at, introduced)

        return self._once((entity, text, at, introduced), read)

    def _value_of(self, slot: Slot | str, text: str, at: int, introduced: Terms) -> list[tuple[int, Term]]:
        assert isinstance(slot, Slot)
        kind = slot.type

        def read() -> Iterator[tuple[int, Term]]:
            yield from self._constant(kind, text, at)
            yield from self._back(text, at, introduced, "")
            yield from self._ruled(self.rules.values[kind.name], text, at, introduced)

        return self._once((kind.name, text, at, introduced), read)

    def _ruled(self, rules: Rules, text: str, at: int, introduced: Terms) -> Iterator[tuple[int, Term]]:
        for rule in rules.at(text, at):
            for end, args in self._match(rule, text, at, introduced):
                yield end, rule.build(args)

    def _back(self, text: str, at: int, introduced: Terms, entity: str) -> Iterator[tuple[int, Term]]:
        """Iterate over references to introduced terms: `that city` is the last one, `the second city` the second."""
        for handle in {each.handle for each in introduced}:
            same_handle = [each for each in introduced if each.handle == handle]
            for word, each in (
                ("that", same_handle[-1]),
                *((f"the {_ORDINALS[i]}", each) for i, each in enumerate(same_handle)),
            ):
                spoken = f"{word} {handle}"
                if each.entity == entity and text.startswith(spoken, at) and _ends(text, at + len(spoken)):
                    yield at + len(spoken), each.term

    def _atom(self, text: str, at: int, entity: str) -> Iterator[tuple[int, Term]]:
        """Iterate over the rows by name or id at a place."""
        noun = self.phrases.noun(entity)
        if self.world.entities[entity].record:
            for before in (f"the {noun} of ", f"the {noun} in the name of "):
                yield from self._name(text, at, before, entity)
            for end, term in self._name(text, at, "", entity):
                if text.startswith(f"'s {noun}", end):
                    yield end + len(f"'s {noun}"), term
        else:
            title = self.world.entities[entity].attributes[0].label.removeprefix(f"{noun} ")
            befores = (f"the {noun} ", f"the {noun} called ", f"{noun} ", f"the {noun} with {title} ")
            for before in befores if entity in CODED else befores[:2]:
                yield from self._name(text, at, before, entity)
            for end, term in self._name(text, at, "", entity):
                if self.world.tables_named(term.value[1]) == (entity,):
                    yield end, term
        yield from self._id(text, at, noun, entity)

    def _id(self, text: str, at: int, noun: str, entity: str) -> Iterator[tuple[int, Term]]:
        for before in (f"the {noun} ", f"{noun} "):
            match = _ID.match(text, at + len(before)) if text.startswith(before, at) else None
            if match and self.world.row(entity, match[0]) is not None:
                yield match.end(), Term(ID, (entity, match[0]))

    def _name(self, text: str, at: int, before: str, entity: str) -> Iterator[tuple[int, Term]]:
        if not text.startswith(before, at):
            return
        at += len(before)
        end = at
        for _ in range(8):
            step = _WORD.match(text, end)
            if step is None:
                return
            end = step.end()
            name = text[at:end]
            if name in self.names[entity] or (self.invented and name == self.invented):
                yield end, Term(NAMED, (entity, name))

    def _pair(self, text: str, at: int, entity: str, introduced: Terms) -> Iterator[tuple[int, Term, Term]]:
        before = f"the {self.phrases.plural(entity)} "
        for middle, first in self._name(text, at, before, entity):
            for end, second in self._name(text, middle, " and ", entity):
                yield end, first, second
        for middle, first in self._row_of(entity, text, at, introduced):
            if text.startswith(" and ", middle):
                for end, second in self._row_of(entity, text, middle + 5, introduced):
                    yield end, first, second

    def _constant(self, kind: SemanticType, text: str, at: int) -> Iterator[tuple[int, Term]]:
        if kind.kind is ValueKind.ENUM:
            for value in kind.values:
                if text.startswith(value, at) and _ends(text, at + len(value)):
                    yield at + len(value), Term(CONST, value)
        elif kind.kind is ValueKind.DATE:
            yield from _date(text, at)
        elif kind.kind is ValueKind.TEXT:
            for end, term in self._name(text, at, "", kind.entity) if kind.entity else ():
                yield end, Term(CONST, term.value[1])
            match = _PERSON.match(text, at)
            if match and not kind.entity:
                yield match.end(), Term(CONST, match[0])
        elif match := _NUMBER.match(text, at):
            unit = UNITS.get(kind.unit, f" {kind.unit}") if kind.unit else ""
            if text.startswith(unit, match.end()):
                value = float(match[0])
                yield match.end() + len(unit), Term(CONST, int(value) if value.is_integer() else value)


def _date(text: str, at: int) -> Iterator[tuple[int, Term]]:
    if match := _ISO.match(text, at):
        yield match.end(), Term(CONST, match[0])
    if (match := _LONG_DATE.match(text, at)) and match[2] in _MONTHS:
        yield match.end(), Term(CONST, date(int(match[3]), _MONTHS[match[2]], int(match[1])).isoformat())


def _stripped(query: str, frame: Frame) -> str | None:
    start, end = f"{frame.open} " if frame.open else "", f" {frame.close}" if frame.close else ""
    if query.startswith(start) and query.endswith(end):
        return query[len(start) : len(query) - len(end)]
    return None


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _ends(text: str, at: int) -> bool:
    return at == len(text) or not text[at].isalnum()
