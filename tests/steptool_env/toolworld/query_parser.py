"""Reads the meaning of a query back from its words, by the patterns of the world but by other code than wrote it.

A query is an opening, steps that each bring up one thing, a sentence that asks or orders, and a close. `Parser.read`
gives every meaning that the words can have; a sound wording has one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import combinations
from typing import Any, NamedTuple

from steptool_env.toolworld.wording import frames
from steptool_env.toolworld.wording.frames import Frame
from steptool_env.toolworld.wording.phrases import Patterns, Phrases
from steptool_env.toolworld.wording.templates import CODED, HANDLES, PEOPLE, PLACES, UNITS
from steptool_env.toolworld.wording.terms import ATTR, CONST, ID, MORE, NAMED, ONLY, OUT, RANK, Meaning, Term
from toolserver.world.schema import EntityType, Kind, Operation, OperationKind, SemanticType, Slot
from toolserver.world.world import World

_ID = re.compile(r"[A-Z]+\d+")
_WORD = re.compile(r"\s?[^\s]+?(?=[\s,.?]|'s|$)|'s|\.")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ISO, _LONG_DATE = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"(\d{1,2}) ([A-Z][a-z]+) (\d{4})")
_PERSON = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+")
_MONTHS = {date(2031, month, 1).strftime("%B"): month for month in range(1, 13)}
_PIECES = re.compile(r"(in \{\w+\}|\{\w+\}'s|\{\w+\})")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")

Args = tuple[tuple[str, Term], ...]
EpisodePool = dict[str, Slot | str]
Build = Callable[[dict[str, Term]], Term]


class Brought(NamedTuple):
    """A thing that a step brought up: its term, the noun for it, and its entity type (empty for a value)."""

    term: Term
    handle: str
    entity: str


class Rule(NamedTuple):
    """A pattern in pieces, what its slots take, and what it comes to."""

    pieces: tuple[str, ...]
    slots: EpisodePool
    build: Callable[[dict[str, Term]], Any]
    handle: str = ""
    entity: str = ""


class Rules:
    """Rules by the words that they begin with, so that few are tried at a place."""

    def __init__(self) -> None:
        self._by_start: dict[str, list[Rule]] = {}
        self._lengths: set[int] = set()
        self.rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Take in a rule."""
        start = "" if "{" in rule.pieces[0] else rule.pieces[0]
        self._by_start.setdefault(start, []).append(rule)
        self._lengths.add(len(start))
        self.rules.append(rule)

    def at(self, text: str, place: int) -> Iterator[Rule]:
        """The rules that may match at a place."""
        for length in self._lengths:
            yield from self._by_start.get(text[place : place + length], ())


class Parser:
    """Reads the queries of a world.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.phrases = Phrases(world)
        self.names = {entity: frozenset(world.table(entity).names) for entity in world.entities}
        self.rows: dict[str, Rules] = defaultdict(Rules)
        self.values: dict[str, Rules] = defaultdict(Rules)
        self.steps = Rules()
        self.asks = {"nouns": Rules(), "clauses": Rules(), "orders": Rules()}
        self.invented = ""
        self._read: dict[tuple[Any, ...], list[Any]] = {}
        for operation in world.operations.values():
            self._add(operation)
        for entity in world.entities.values():
            self._add_attributes(entity)

    def read(self, query: str, invented: str = "") -> set[Meaning]:
        """Every meaning of a query. `invented` is a name in it that no table has."""
        self.invented, self._read = invented, {}
        level = self.world.level.name
        found: set[Meaning] = set()
        for category, tone in (("nouns", frames.NOUNS), ("nouns", frames.THINGS), ("clauses", frames.CLAUSES),
                               ("clauses", frames.QUESTIONS), ("orders", frames.ORDERS)):  # fmt: skip
            for frame in tone[level]:
                body = _stripped(query, frame)
                if body is not None:
                    found |= set(self._body(body, frame, category, ()))
        return {each.normal() for each in found}

    # The patterns.

    def _add(self, operation: Operation) -> None:
        kind = operation.kind
        if kind.writes or kind is OperationKind.COMPUTE:
            required = [name for name, slot in operation.inputs.items() if slot.required]
            optional = [name for name, slot in operation.inputs.items() if not slot.required]
            for count in range(len(optional) + 1):
                for more in combinations(optional, count):
                    self._add_inputs(operation, frozenset((*required, *more)))
        elif kind is OperationKind.RANK:
            for low in (False, True) if "order" in operation.inputs else (False,):
                self._add_ranking(operation, low)
        elif kind is OperationKind.COMPARE:
            self._add_comparison(operation)
        elif kind is not OperationKind.SEARCH:
            self._add_many(operation)

    def _add_many(self, operation: Operation) -> None:
        kind, phrases, slots = operation.kind, self.phrases, _slots(operation)
        if kind is OperationKind.AGGREGATE:
            for names in _some(operation.outputs):
                said = phrases.derived(operation.name, names, frozenset())
                self._asked(said, slots, _outs(operation, names))
                if len(names) == 1:
                    self._value(operation.outputs[names[0]].type, said, slots, _out(operation, names[0]))
        elif kind in (OperationKind.LIST, OperationKind.RELATED):
            self._asked(phrases.listed(operation.name), slots, _listed(operation))
            if kind is OperationKind.RELATED:
                self._row(operation.subject, phrases.only(operation.name), slots, _row(ONLY, operation.name))

    def _add_inputs(self, operation: Operation, given: frozenset[str]) -> None:
        slots: EpisodePool = {name: slot for name, slot in operation.inputs.items() if name in given}
        if operation.kind.writes:
            for pattern in self.phrases.ordered(operation.name, given):
                self.asks["orders"].add(Rule(_pieces(pattern), slots, _listed(operation)))
            return
        if operation.many:
            return
        for names in _some(operation.outputs):
            said = self.phrases.derived(operation.name, names, given)
            self._asked(said, slots, _outs(operation, names))
            if len(names) == 1:
                self._value(operation.outputs[names[0]].type, said, slots, _out(operation, names[0]))

    def _add_ranking(self, operation: Operation, low: bool) -> None:
        phrases, subject = self.phrases, operation.subject
        slots = _slots(operation)
        build = _row(RANK, (operation.name, low))
        self._row(subject, phrases.top(operation.name, low), slots, build)
        title = self.world.entities[subject].attributes[0].name
        for names in ((title,), (operation.attribute,), (title, operation.attribute)):
            self._asked(phrases.ranked(operation.name, low, names), slots, _attributes(subject, names, build))

    def _add_comparison(self, operation: Operation) -> None:
        phrases, subject = self.phrases, operation.subject
        slots: EpisodePool = {"pair": subject}
        build = _row(MORE, operation.name)
        self._row(subject, phrases.winner(operation.name), slots, build)
        difference = _out(operation, "difference")
        said = phrases.compared(operation.name, ("difference",))
        self._value(operation.outputs["difference"].type, said, slots, difference)
        title = self.world.entities[subject].attributes[0].name
        named = _attributes(subject, (title,), build)
        self._asked(said, slots, lambda args: Meaning("", (("difference", difference(args)),)))
        self._asked(phrases.compared(operation.name, (title,)), slots, named)
        self._asked(
            phrases.compared(operation.name, (title, "difference")),
            slots,
            lambda args: Meaning("", (*named(args).terms, ("difference", difference(args)))),
        )

    def _add_attributes(self, entity: EntityType) -> None:
        slots: EpisodePool = {"of": entity.name}
        shown = [each for each in entity.attributes if each.type.kind is not Kind.ID]
        for each in entity.attributes:
            name = f"{entity.name}.{each.name}"
            if each.type.kind is Kind.ID:
                said = self.phrases.pointed(name)
                self._row(each.type.entity, said, slots, _attribute(name), self.phrases.handle(name))
            else:
                self._value(each.type, self.phrases.shown((name,)), slots, _attribute(name))
        for count in (1, 2):
            for some in combinations([each.name for each in shown], count):
                said = self.phrases.shown(tuple(f"{entity.name}.{name}" for name in some))
                self._asked(said, slots, _attributes(entity.name, some, lambda args: args["of"]))

    def _row(self, entity: str, said: Patterns, slots: EpisodePool, build: Build, handle: str = "") -> None:
        for each in said.nouns:
            self.rows[entity].add(Rule(_pieces(each), slots, build))
        patterns = [verb.format(it=noun) for verb in frames.TAKES["thing"] for noun in said.nouns] + list(said.takes)
        for pattern in patterns:
            self.steps.add(Rule(_pieces(pattern), slots, build, handle or self.phrases.noun(entity), entity))

    def _value(self, kind: SemanticType, said: Patterns, slots: EpisodePool, build: Build) -> None:
        for each in said.nouns:
            self.values[kind.name].add(Rule(_pieces(each), slots, build))
            for verb in frames.TAKES["value"]:
                pieces = _pieces(verb.format(it=each))
                self.steps.add(Rule(pieces, slots, build, HANDLES.get(kind.name, "value")))

    def _asked(self, said: Patterns, slots: EpisodePool, build: Callable[[dict[str, Term]], Meaning]) -> None:
        for category in ("nouns", "clauses"):
            for each in getattr(said, category):
                self.asks[category].add(Rule(_pieces(each), slots, build))

    # Sentences.

    def _body(self, text: str, frame: Frame, category: str, brought: tuple[Brought, ...]) -> Iterator[Meaning]:
        """The meanings of steps that are followed by a sentence in the frame."""
        before, _, after = frame.ask.partition("{it}")
        for be in ("What is", "What are", "Who is", "Who are", "Which is") if "{be}" in before else ("",):
            start = before.replace("{be}", be)
            if text.startswith(start) and text.endswith(after):
                inside = text[len(start) : len(text) - len(after)]
                yield from self._inside(inside, category, brought, is_start=not start)
        for end, more in self._step(text, 0, brought):
            if text[end : end + 2] == ". ":
                yield from self._body(text[end + 2 :], frame, category, more)
            elif text[end : end + 5] == " and ":
                for last, both in self._step(text, end + 5, more):
                    if text[last : last + 2] == ". ":
                        yield from self._body(text[last + 2 :], frame, category, both)

    def _inside(self, text: str, category: str, brought: tuple[Brought, ...], is_start: bool) -> Iterator[Meaning]:
        text = _lowered(text) if is_start else text
        for rule in self.asks[category].at(text, 0):
            for end, args in self._match(rule, text, 0, brought):
                if end == len(text):
                    yield rule.build(args)

    def _step(self, text: str, start: int, brought: tuple[Brought, ...]) -> list[tuple[int, tuple[Brought, ...]]]:
        return self._once(("step", text, start, brought), lambda: self._steps(text, start, brought))

    def _once(self, key: tuple[Any, ...], read: Callable[[], Iterable[Any]]) -> list[Any]:
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = list(read())
        return found

    def _steps(self, text: str, start: int, brought: tuple[Brought, ...]) -> Iterator[tuple[int, tuple[Brought, ...]]]:
        text = text[:start] + _lowered(text[start:])
        for rule in self.steps.at(text, start):
            for end, args in self._match(rule, text, start, brought):
                yield end, (*brought, Brought(rule.build(args), rule.handle, rule.entity))
        for verb in frames.TAKES["thing"]:
            before = verb.format(it="")
            if text.startswith(before, start):
                for entity in self.world.entities:
                    for end, term in self._atom(text, start + len(before), entity):
                        yield end, (*brought, Brought(term, self.phrases.noun(entity), entity))

    def _match(
        self, rule: Rule, text: str, at: int, brought: tuple[Brought, ...], index: int = 0
    ) -> Iterator[tuple[int, dict[str, Term]]]:
        """Every way to match the pieces from `index` on at a place, with where it ends."""
        if index == len(rule.pieces):
            yield at, {}
            return
        piece = rule.pieces[index]
        if "{" not in piece:
            if text.startswith(piece, at):
                yield from self._match(rule, text, at + len(piece), brought, index + 1)
            return
        for end, args in self._slot(piece, rule.slots, text, at, brought):
            for last, more in self._match(rule, text, end, brought, index + 1):
                yield last, args | more

    def _slot(
        self, piece: str, slots: EpisodePool, text: str, at: int, brought: tuple[Brought, ...]
    ) -> Iterator[tuple[int, dict[str, Term]]]:
        name = piece[piece.index("{") + 1 : piece.index("}")]
        slot = slots[name]
        if name == "pair":
            for end, first, second in self._pair(text, at, str(slot), brought):
                yield end, {"first_id": first, "second_id": second}
            return
        entity = slot if isinstance(slot, str) else slot.type.entity if slot.type.kind is Kind.ID else ""
        if brought and brought[-1].entity == entity != "":
            if piece.startswith("in ") and entity in PLACES and text.startswith("there", at):
                yield at + 5, {name: brought[-1].term}
            its = "their" if entity in PEOPLE else "its"
            if piece.endswith("'s") and text.startswith(its, at):
                yield at + len(its), {name: brought[-1].term}
        before, _, after = piece.partition(f"{{{name}}}")
        if text.startswith(before, at):
            at += len(before)
            found = self._row_of(entity, text, at, brought) if entity else self._value_of(slot, text, at, brought)
            for end, term in found:
                if text.startswith(after, end):
                    yield end + len(after), {name: term}

    # Rows and values.

    def _row_of(self, entity: str, text: str, at: int, brought: tuple[Brought, ...]) -> list[tuple[int, Term]]:
        def read() -> Iterator[tuple[int, Term]]:
            yield from self._atom(text, at, entity)
            yield from self._back(text, at, brought, entity)
            yield from self._ruled(self.rows[entity], text, at, brought)

        return self._once((entity, text, at, brought), read)

    def _value_of(self, slot: Slot | str, text: str, at: int, brought: tuple[Brought, ...]) -> list[tuple[int, Term]]:
        assert isinstance(slot, Slot)
        kind = slot.type

        def read() -> Iterator[tuple[int, Term]]:
            yield from self._constant(kind, text, at)
            yield from self._back(text, at, brought, "")
            yield from self._ruled(self.values[kind.name], text, at, brought)

        return self._once((kind.name, text, at, brought), read)

    def _ruled(self, rules: Rules, text: str, at: int, brought: tuple[Brought, ...]) -> Iterator[tuple[int, Term]]:
        for rule in rules.at(text, at):
            for end, args in self._match(rule, text, at, brought):
                yield end, rule.build(args)

    def _back(self, text: str, at: int, brought: tuple[Brought, ...], entity: str) -> Iterator[tuple[int, Term]]:
        """What was brought up: `that city` is the last one, `the second city` the second one."""
        for handle in {each.handle for each in brought}:
            alike = [each for each in brought if each.handle == handle]
            for word, each in (("that", alike[-1]), *((f"the {_ORDINALS[i]}", each) for i, each in enumerate(alike))):
                spoken = f"{word} {handle}"
                if each.entity == entity and text.startswith(spoken, at) and _ends(text, at + len(spoken)):
                    yield at + len(spoken), each.term

    def _atom(self, text: str, at: int, entity: str) -> Iterator[tuple[int, Term]]:
        """A row by name or id."""
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

    def _pair(self, text: str, at: int, entity: str, brought: tuple[Brought, ...]) -> Iterator[tuple[int, Term, Term]]:
        before = f"the {self.phrases.plural(entity)} "
        for middle, first in self._name(text, at, before, entity):
            for end, second in self._name(text, middle, " and ", entity):
                yield end, first, second
        for middle, first in self._row_of(entity, text, at, brought):
            if text.startswith(" and ", middle):
                for end, second in self._row_of(entity, text, middle + 5, brought):
                    yield end, first, second

    def _constant(self, kind: SemanticType, text: str, at: int) -> Iterator[tuple[int, Term]]:
        if kind.kind is Kind.ENUM:
            for value in kind.values:
                if text.startswith(value, at) and _ends(text, at + len(value)):
                    yield at + len(value), Term(CONST, value)
        elif kind.kind is Kind.DATE:
            yield from _date(text, at)
        elif kind.kind is Kind.TEXT:
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


def _slots(operation: Operation) -> EpisodePool:
    return {name: slot for name, slot in operation.inputs.items() if name not in ("limit", "order")}


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


def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(piece for piece in _PIECES.split(pattern) if piece)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _ends(text: str, at: int) -> bool:
    return at == len(text) or not text[at].isalnum()


def _some(outputs: Iterable[str]) -> Iterator[tuple[str, ...]]:
    names = list(outputs)
    yield from combinations(names, 1)
    yield from combinations(names, 2)


def _in_order(operation: Operation, args: dict[str, Term]) -> Args:
    return tuple((name, args[name]) for name in operation.inputs if name in args)


def _sorted(args: dict[str, Term]) -> Args:
    return tuple(args.items()) if len(args) < 2 else tuple(sorted(args.items()))


def _row(head: str, value: Any) -> Build:
    return lambda args: Term(head, value, _sorted(args))


def _attribute(name: str) -> Build:
    return lambda args: Term(ATTR, name, (("of", args["of"]),))


def _attributes(entity: str, names: tuple[str, ...], build: Build) -> Callable[[dict[str, Term]], Meaning]:
    return lambda args: Meaning(
        "", tuple((name, Term(ATTR, f"{entity}.{name}", (("of", build(args)),))) for name in names)
    )


def _out(operation: Operation, name: str) -> Build:
    return lambda args: Term(OUT, (operation.name, name), _sorted(args))


def _outs(operation: Operation, names: tuple[str, ...]) -> Callable[[dict[str, Term]], Meaning]:
    return lambda args: Meaning("", tuple((name, _out(operation, name)(args)) for name in names))


def _listed(operation: Operation) -> Callable[[dict[str, Term]], Meaning]:
    return lambda args: Meaning(operation.name, _sorted(args))
