"""Puts a plan into words: short plans become one sentence, longer ones several, each bringing up one thing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.wording import frames
from steptool_env.toolworld.wording.frames import Frame
from steptool_env.toolworld.wording.phrases import Patterns, Phrases
from steptool_env.toolworld.wording.templates import CODED, HANDLES, PEOPLE, PLACES, UNITS
from steptool_env.toolworld.wording.terms import (
    ATTR,
    CONST,
    ID,
    MORE,
    NAMED,
    ONLY,
    OUT,
    RANK,
    Term,
    inputs_of,
    is_low,
)
from toolserver.world.schema import Kind, Operation, OperationKind, SemanticType, Slot
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.world import World

WORDS, OFS = 30, 3
"""Most words, and most times `of`, in one sentence, names aside."""

_MERGED = 22  # most words of two sentences that become one
_SLOT = re.compile(r"\{(\w+)\}('s)?")
_IN = "in {%s}"
_ATOMS = (CONST, NAMED, ID)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def query_of(world: World, plan: Plan, rng: SeededRandom) -> str:
    """The words for a plan.

    Args:
        world: Where its names come from; its level sets the tone.
        plan: The plan.
        rng: Random generator for the choice of words.
    """
    return _Text(phrases_of(world), world, plan, rng).query()


@lru_cache(maxsize=8)
def phrases_of(world: World) -> Phrases:
    """The patterns for the operations of a world, made when they are first asked for."""
    return Phrases(world)


class _Text:
    """The query of one plan in the making."""

    def __init__(self, phrases: Phrases, world: World, plan: Plan, rng: SeededRandom) -> None:
        self.phrases = phrases
        self.world = world
        self.rng = rng
        self.plan = plan
        self.last = len(plan.nodes) - 1
        self.operation = plan.results[self.last].operation
        inputs = inputs_of(plan, self.last)
        shows = self.operation.kind in (OperationKind.DETAILS, OperationKind.LOOKUP)
        self.inputs = (("of", inputs[0][1]),) if shows else inputs
        self.parents = _parents(self.inputs)

    def query(self) -> str:
        """The query."""
        apart = self._apart()
        while True:
            sentences = _Sentences(self, apart)
            text = sentences.all()
            more = None if all(map(sentences.is_short, text)) else self._next(apart)
            if more is None:
                return " ".join(text)
            apart = [each for each in self.parents if each in apart or each == more]

    def _apart(self) -> list[Term]:
        """The terms that get a sentence of their own: those said twice, those of two rows, those inside nested ones."""
        apart: set[Term] = set()
        heights: dict[Term, int] = {}
        for term, parents in self.parents.items():
            apart.update(arg for _, arg in term.args if heights[arg])
            heights[term] = int(term.head not in _ATOMS)
            if term.head == MORE or (parents > 1 and term.head != CONST):
                apart.add(term)
                heights[term] = 0
        return [each for each in self.parents if each in apart]

    def _next(self, apart: list[Term]) -> Term | None:
        """The next term to be taken out of a sentence that is too long."""
        left = [term for term in self.parents if term not in apart and term.head != CONST]
        left.sort(key=lambda term: term.head in _ATOMS)  # stable: names last
        return left[0] if left else None

    def asked(self) -> tuple[Patterns, dict[str, tuple[Frame, ...]]]:
        """The patterns and frames of the last sentence."""
        operation, phrases, level = self.operation, self.phrases, self.world.level.name
        given = frozenset(name for name, _ in self.inputs)
        if operation.kind.writes:
            return Patterns(phrases.ordered(operation.name, given)), {"nouns": frames.ORDERS[level]}
        names = tuple(each.output for each in self.plan.asked)
        tone = {"nouns": frames.NOUNS[level], "clauses": frames.CLAUSES[level]}
        if operation.kind is OperationKind.RANK:
            if operation.attribute not in names or len(names) > 1:
                tone["nouns"] = frames.THINGS[level]
            return phrases.ranked(operation.name, is_low(self.plan, self.last), names), tone
        if operation.kind is OperationKind.COMPARE:
            return phrases.compared(operation.name, names), tone
        if self.plan.asked[0].every:
            return phrases.listed(operation.name), tone
        if "of" in given:
            return phrases.shown(tuple(f"{operation.subject}.{name}" for name in names)), tone
        return phrases.derived(operation.name, names, given), tone


def _parents(inputs: Iterable[tuple[str, Term]]) -> dict[Term, int]:
    """Every term inside the inputs, inner ones first, with how many phrases it is part of."""
    parents: dict[Term, set[Term | None]] = {}

    def visit(term: Term, parent: Term | None) -> None:
        for _, arg in term.args:
            visit(arg, term)
        parents.setdefault(term, set()).add(parent)

    for _, term in inputs:
        visit(term, None)
    return {term: len(each) for term, each in parents.items()}


class _Sentences:
    """The sentences of a query once it is settled which terms get one of their own."""

    def __init__(self, text: _Text, apart: list[Term]) -> None:
        self.text = text
        self.phrases = text.phrases
        self.rng = text.rng
        self.apart = apart
        self.handles = [self._handle(term) for term in apart]
        self.now = 0  # the terms before have been brought up
        self.needed = self._needed()
        self.names: list[str] = []

    def all(self) -> list[str]:
        """The sentences, from the opening to the close."""
        steps = [self._step(term) for term in self.apart]
        said, tone = self.text.asked()
        ask, frame = self._ask(said, tone)
        body = self._joined(steps)
        return [each for each in (frame.open, *body, ask, frame.close) if each]

    def is_short(self, sentence: str) -> bool:
        """True where a sentence is within the bounds; names count as one word."""
        for name in self.names:
            sentence = sentence.replace(name, "X")
        words = sentence.split()
        return len(words) <= WORDS and words.count("of") <= OFS

    def _needed(self) -> list[int]:
        """For every term that was brought up, the last sentence that speaks of it."""
        last = dict.fromkeys(self.apart, 0)

        def visit(term: Term, index: int) -> None:
            for _, arg in term.args:
                if arg in last:
                    last[arg] = max(last[arg], index)
                else:
                    visit(arg, index)

        for index, term in enumerate(self.apart):
            visit(term, index)
        visit(Term(OUT, "", self.text.inputs), len(self.apart))
        return [last[term] for term in self.apart]

    # Sentences.

    def _step(self, term: Term) -> str:
        """An imperative without its full stop that brings up a term."""
        said = self._said(term)
        patterns = list(said.takes) if said else []
        value = not self._entity(term)
        verbs = frames.TAKES["value" if value else "thing"][: None if self.now == 0 or value else -1]
        if said is None:
            return self._brought(self.rng.pick(verbs[-2:] if self.now == 0 else verbs[2:]).format(it=self._atom(term)))
        nouns = self._usable(said.nouns, dict(term.args))
        if nouns and (not patterns or self.rng.chance(0.5)):
            verb = self.rng.pick(verbs[:2] if not value else verbs)
            pattern = verb.format(it=self.rng.pick(nouns))
        else:
            pattern = self.rng.pick(self._usable(patterns, dict(term.args)))
        return self._brought(self._filled(pattern, dict(term.args), self._operation(term)))

    def _brought(self, sentence: str) -> str:
        self.now += 1
        return sentence

    def _joined(self, steps: list[str]) -> list[str]:
        """The steps as sentences, some of them two in one."""
        sentences: list[str] = []
        index = 0
        while index < len(steps):
            step = steps[index]
            if index + 1 < len(steps) and self._joins(step, steps[index + 1], index):
                step = f"{step} and {steps[index + 1]}"
                index += 1
            index += 1
            sentences.append(f"{_capital(step)}.")
        return sentences

    def _joins(self, step: str, following: str, index: int) -> bool:
        """True where two steps make one sentence: the second goes on from the first, and `and` joins nothing else."""
        refers = any(arg == self.apart[index] for _, arg in self.apart[index + 1].args)
        alike = step.split()[0] == following.split()[0]
        if not refers or alike or step.startswith("compare ") or following.startswith(("compare ", "of ")):
            return False
        return " and " not in following and len(step.split()) + len(following.split()) < _MERGED

    def _ask(self, said: Patterns, tone: Mapping[str, tuple[Frame, ...]]) -> tuple[str, Frame]:
        args = dict(self.text.inputs)
        nouns, clauses = self._usable(said.nouns, args), self._usable(said.clauses, args)
        pattern = self.rng.pick([*nouns, *clauses])
        if pattern in nouns:
            frame = self.rng.pick([each for each in tone["nouns"] if said.be or "{be}" not in each.ask])
        elif _is_question(pattern) and self.rng.chance(0.6):
            frame = self.rng.pick(frames.QUESTIONS[self.text.world.level.name])
        else:
            frame = self.rng.pick(tone["clauses"])
        filled = self._filled(pattern, args, self.text.operation)
        return _capital(frame.ask.replace("{be}", _be(said, pattern)).replace("{it}", filled)), frame

    # Phrases.

    def _said(self, term: Term) -> Patterns | None:
        """The patterns for a term; `None` for a name or an id."""
        phrases = self.phrases
        if term.head == RANK:
            return phrases.top(*term.value)
        if term.head == MORE:
            return phrases.winner(term.value)
        if term.head == ONLY:
            return phrases.only(term.value)
        if term.head == ATTR:
            return phrases.pointed(term.value) if self._entity(term) else phrases.shown((term.value,))
        if term.head == OUT:
            name, output = term.value
            given = frozenset(each for each, _ in term.args)
            if phrases.operations[name].kind is OperationKind.COMPARE:
                return phrases.compared(name, (output,))
            return phrases.derived(name, (output,), given)
        return None

    def _usable(self, patterns: Iterable[str], args: Mapping[str, Term]) -> list[str]:
        """The patterns that fit: possessives of what was brought up and of persons, and nothing unclear after `with`.

        `The hotel in the city of Hotel Map with the highest rating` could be about Hotel Map.
        """
        long = [name for name, term in args.items() if term.head not in _ATOMS and term not in self.apart]
        return [
            each
            for each in patterns
            if ("{of}'s" not in each or self._can_own(args["of"]))
            and not any(f"{{{name}}} with the " in each for name in long)
        ]

    def _can_own(self, term: Term) -> bool:
        return term in self.apart or (term.head == NAMED and term.value[0] in PEOPLE and self._is_unique(term))

    def _filled(self, pattern: str, args: Mapping[str, Term], operation: Operation | None) -> str:
        for name, term in args.items():
            if self._is_last(term):
                if _IN % name in pattern and self._entity(term) in PLACES and self.rng.chance(0.6):
                    pattern = pattern.replace(_IN % name, "there")
                if f"{{{name}}}'s" in pattern and self.rng.chance(0.7):
                    pattern = pattern.replace(f"{{{name}}}'s", self._its(term))
        if "{pair}" in pattern:
            pattern = pattern.replace("{pair}", self._pair(args["first_id"], args["second_id"]))

        def said(match: re.Match[str]) -> str:
            slot, term = operation.inputs.get(match[1]) if operation is not None else None, args[match[1]]
            if match[2] and self._is_new(term):
                self.names.append(term.value[1])
                return f"{term.value[1]}'s"
            return self._phrase(term, slot) + (match[2] or "")

        return _SLOT.sub(said, pattern)

    def _phrase(self, term: Term, slot: Slot | None = None) -> str:
        """A term inside a phrase: a constant, a name, something that was brought up, or a noun phrase."""
        if term in self.apart[: self.now]:
            return self._reference(term)
        if term.head == CONST:
            return self._constant(term.value, slot)
        said = self._said(term)
        if said is None:
            return self._atom(term)
        args = dict(term.args)
        return self._filled(self.rng.pick(self._usable(said.nouns, args)), args, self._operation(term))

    def _reference(self, term: Term) -> str:
        """`that city`, or `the second city` where two of them are still to be spoken of."""
        index = self.apart.index(term)
        handle = self.handles[index]
        alike = [each for each in range(len(self.apart)) if self.handles[each] == handle]
        others = [each for each in alike if each < self.now and each != index]
        if all(each < index and self.needed[each] < self.now for each in others):
            return f"that {handle}"
        return f"the {_ORDINALS[alike.index(index)]} {handle}"

    def _is_last(self, term: Term) -> bool:
        return 0 < self.now <= len(self.apart) and self.apart[self.now - 1] == term

    def _its(self, term: Term) -> str:
        return "their" if self._entity(term) in PEOPLE else "its"

    def _pair(self, first: Term, second: Term) -> str:
        if first.head == second.head == NAMED and not {first, second} & set(self.apart[: self.now]):
            entity = first.value[0]
            if not self.phrases.entities[entity].record:
                self.names += [first.value[1], second.value[1]]
                return f"the {self.phrases.plural(entity)} {first.value[1]} and {second.value[1]}"
        return " and ".join(
            self._atom(each, typed=True) if self._is_new(each) else self._phrase(each) for each in (first, second)
        )

    def _is_new(self, term: Term) -> bool:
        """True where a term is a row that is named here for the first time."""
        return term.head in (NAMED, ID) and term not in self.apart[: self.now]

    def _atom(self, term: Term, typed: bool = False) -> str:
        """A row by its name or its id; `typed` says its type even where the name is unique."""
        entity, name = term.value
        noun = self.phrases.noun(entity)
        self.names.append(name)
        if term.head == ID:
            return self.rng.pick((f"the {noun} {name}", f"{noun} {name}"))
        if self.phrases.entities[entity].record:
            return self.rng.pick((f"the {noun} of {name}", f"{name}'s {noun}", f"the {noun} in the name of {name}"))
        if entity in CODED:
            title = self.phrases.entities[entity].attributes[0].label.removeprefix(f"{noun} ")
            return self.rng.pick((f"the {noun} {name}", f"{noun} {name}", f"the {noun} with {title} {name}"))
        unique = self._is_unique(term) and not typed
        if noun in name.lower() or name.startswith("Dr. "):
            return name if unique else f"the {noun} called {name}"
        return self.rng.pick(
            (f"the {noun} {name}", f"the {noun} called {name}", name if unique else f"the {noun} {name}")
        )

    def _is_unique(self, term: Term) -> bool:
        """True where a name alone tells which table it is of. One that does not exist may still stand in another."""
        entity, name = term.value
        return self.text.world.tables_named(name) == (entity,)

    def _constant(self, value: Any, slot: Slot | None) -> str:
        """A stated value with its unit."""
        kind = slot.type if slot is not None else None
        if kind is None or isinstance(value, bool):
            return str(value)
        if kind.kind is Kind.DATE and self.rng.chance(0.5):
            day = date.fromisoformat(value)
            return f"{day.day} {day:%B} {day.year}"
        if kind.kind is Kind.TEXT:
            self.names.append(value)
        return f"{value}{UNITS.get(kind.unit, f' {kind.unit}')}" if kind.unit else str(value)

    def _operation(self, term: Term) -> Operation | None:
        if term.head in (RANK, OUT):
            return self.phrases.operations[term.value[0]]
        return self.phrases.operations[term.value] if term.head in (MORE, ONLY) else None

    def _kind(self, term: Term) -> SemanticType | None:
        """The type of a value; `None` for a row that is not pointed to."""
        if term.head == ATTR:
            entity, _, name = term.value.partition(".")
            return self.phrases.entities[entity].attribute(name).type
        if term.head == OUT:
            return self.phrases.operations[term.value[0]].outputs[term.value[1]].type
        return None

    def _entity(self, term: Term) -> str:
        """The entity type of a row; empty for a value."""
        if term.head in (NAMED, ID):
            return str(term.value[0])
        kind, operation = self._kind(term), self._operation(term)
        if kind is not None:
            return kind.entity if kind.kind is Kind.ID else ""
        return operation.subject if operation is not None else ""

    def _handle(self, term: Term) -> str:
        """The noun by which a term is spoken of once it was brought up."""
        entity, kind = self._entity(term), self._kind(term)
        if entity and term.head == ATTR:
            return self.phrases.handle(term.value)
        if entity or kind is None:
            return self.phrases.noun(entity)
        return HANDLES.get(kind.name, "value")


def _be(said: Patterns, pattern: str) -> str:
    """Opening of a question with a noun phrase: `What are`, but `What is` before the name of every hotel."""
    return said.be.replace(" are", " is") if " of every " in pattern or " of each " in pattern else said.be


def _is_question(clause: str) -> bool:
    """True where a clause is a question as it stands."""
    return clause.startswith("which ") and ", and " not in clause


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
