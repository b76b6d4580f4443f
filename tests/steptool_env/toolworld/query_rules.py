"""Rules for the parser of queries: the world's patterns in pieces, with the terms that they build."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

from steptool_env.toolworld.wording import frames
from steptool_env.toolworld.wording.operation_patterns import Patterns, Phrases
from steptool_env.toolworld.wording.templates import HANDLES
from steptool_env.toolworld.wording.terms import ATTR, MORE, ONLY, OUT, RANK, Args, Term
from tests.steptool_env.toolworld.meaning import Meaning
from toolserver.world.schema import EntityType, Operation, OperationKind, SemanticType, Slot, ValueKind
from toolserver.world.world import World

_PIECES = re.compile(r"(in \{\w+\}|\{\w+\}'s|\{\w+\})")

PatternSlots = dict[str, Slot | str]
Build = Callable[[dict[str, Term]], Term]


class Rule(NamedTuple):
    """A pattern in pieces, the types of its slots, and the function that builds its term or meaning."""

    pieces: tuple[str, ...]
    slots: PatternSlots
    build: Callable[[dict[str, Term]], Any]
    handle: str = ""
    entity: str = ""


class Rules:
    """Rules indexed by their first piece, so that few are tried at a place."""

    def __init__(self) -> None:
        self._by_start: dict[str, list[Rule]] = {}
        self._lengths: set[int] = set()

    def add(self, rule: Rule) -> None:
        """Add a rule."""
        start = "" if "{" in rule.pieces[0] else rule.pieces[0]
        self._by_start.setdefault(start, []).append(rule)
        self._lengths.add(len(start))

    def at(self, text: str, place: int) -> Iterator[Rule]:
        """Iterate over the rules that may match at a place."""
        for length in self._lengths:
            yield from self._by_start.get(text[place : place + length], ())


class QueryRules:
    """Rules for the queries of a world.

    Args:
        world: The world.

    Attributes:
        rows: Rules for rows, by entity type.
        values: Rules for values, by semantic type.
        steps: Rules for imperatives that introduce a term.
        asks: Rules for the last sentence, by form.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.phrases = Phrases(world)
        self.rows: dict[str, Rules] = defaultdict(Rules)
        self.values: dict[str, Rules] = defaultdict(Rules)
        self.steps = Rules()
        self.asks = {"nouns": Rules(), "clauses": Rules(), "orders": Rules()}
        for operation in world.operations.values():
            self._add(operation)
        for entity in world.entities.values():
            self._add_attributes(entity)

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
                patterns = phrases.derived(operation.name, names, frozenset())
                self._asked(patterns, slots, _outs(operation, names))
                if len(names) == 1:
                    self._value(operation.outputs[names[0]].type, patterns, slots, _out(operation, names[0]))
        elif kind in (OperationKind.LIST, OperationKind.RELATED):
            self._asked(phrases.listed(operation.name), slots, _listed(operation))
            if kind is OperationKind.RELATED:
                self._row(operation.subject, phrases.only(operation.name), slots, _row(ONLY, operation.name))

    def _add_inputs(self, operation: Operation, given: frozenset[str]) -> None:
        slots: PatternSlots = {name: slot for name, slot in operation.inputs.items() if name in given}
        if operation.kind.writes:
            for pattern in self.phrases.ordered(operation.name, given):
                self.asks["orders"].add(Rule(_pieces(pattern), slots, _listed(operation)))
            return
        if operation.many:
            return
        for names in _some(operation.outputs):
            patterns = self.phrases.derived(operation.name, names, given)
            self._asked(patterns, slots, _outs(operation, names))
            if len(names) == 1:
                self._value(operation.outputs[names[0]].type, patterns, slots, _out(operation, names[0]))

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
        slots: PatternSlots = {"pair": subject}
        build = _row(MORE, operation.name)
        self._row(subject, phrases.winner(operation.name), slots, build)
        difference = _out(operation, "difference")
        patterns = phrases.compared(operation.name, ("difference",))
        self._value(operation.outputs["difference"].type, patterns, slots, difference)
        title = self.world.entities[subject].attributes[0].name
        named = _attributes(subject, (title,), build)
        self._asked(patterns, slots, lambda args: Meaning("", (("difference", difference(args)),)))
        self._asked(phrases.compared(operation.name, (title,)), slots, named)
        self._asked(
            phrases.compared(operation.name, (title, "difference")),
            slots,
            lambda args: Meaning("", (*named(args).terms, ("difference", difference(args)))),
        )

    def _add_attributes(self, entity: EntityType) -> None:
        slots: PatternSlots = {"of": entity.name}
        shown = [each for each in entity.attributes if each.type.kind is not ValueKind.ID]
        for each in entity.attributes:
            name = f"{entity.name}.{each.name}"
            if each.type.kind is ValueKind.ID:
                patterns = self.phrases.pointed(name)
                self._row(each.type.entity, patterns, slots, _attribute(name), self.phrases.handle(name))
            else:
                self._value(each.type, self.phrases.shown((name,)), slots, _attribute(name))
        for count in (1, 2):
            for some in combinations([each.name for each in shown], count):
                patterns = self.phrases.shown(tuple(f"{entity.name}.{name}" for name in some))
                self._asked(patterns, slots, _attributes(entity.name, some, lambda args: args["of"]))

    def _row(self, entity: str, patterns: Patterns, slots: PatternSlots, build: Build, handle: str = "") -> None:
        for each in patterns.nouns:
            self.rows[entity].add(Rule(_pieces(each), slots, build))
        verbs = frames.INTRODUCTIONS["thing"]
        for pattern in (*(verb.format(it=noun) for verb in verbs for noun in patterns.nouns), *patterns.introductions):
            self.steps.add(Rule(_pieces(pattern), slots, build, handle or self.phrases.noun(entity), entity))

    def _value(self, kind: SemanticType, patterns: Patterns, slots: PatternSlots, build: Build) -> None:
        for each in patterns.nouns:
            self.values[kind.name].add(Rule(_pieces(each), slots, build))
            for verb in frames.INTRODUCTIONS["value"]:
                pieces = _pieces(verb.format(it=each))
                self.steps.add(Rule(pieces, slots, build, HANDLES.get(kind.name, "value")))

    def _asked(self, patterns: Patterns, slots: PatternSlots, build: Callable[[dict[str, Term]], Meaning]) -> None:
        for category in ("nouns", "clauses"):
            for each in getattr(patterns, category):
                self.asks[category].add(Rule(_pieces(each), slots, build))


def _slots(operation: Operation) -> PatternSlots:
    return {name: slot for name, slot in operation.inputs.items() if name not in ("limit", "order")}


def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(piece for piece in _PIECES.split(pattern) if piece)


def _some(outputs: Iterable[str]) -> Iterator[tuple[str, ...]]:
    names = list(outputs)
    yield from combinations(names, 1)
    yield from combinations(names, 2)


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
