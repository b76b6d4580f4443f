"""Writes the terms of a query as noun phrases: names, references to earlier sentences, constants with units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from steptool_env.toolworld.wording.operation_patterns import Patterns, Phrases
from steptool_env.toolworld.wording.templates import CODED, HANDLES, PEOPLE, PLACES, UNITS
from steptool_env.toolworld.wording.terms import ATTR, CONST, ID, MORE, NAMED, ONLY, OUT, RANK, Term
from toolserver.world.schema import Operation, OperationKind, SemanticType, Slot, ValueKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.world import World

ATOMS = (CONST, NAMED, ID)
"""Heads of terms without inputs."""

_SLOT = re.compile(r"\{(\w+)\}('s)?")
_IN = "in {%s}"
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


class NounPhrases:
    """Noun phrases of one query.

    Args:
        phrases: Patterns of the operations.
        world: The world.
        rng: Random generator for the choice of words.
        introduced: Terms with a sentence of their own, in the order of the sentences.
        last_uses: Index of the last sentence that uses each of them.

    Attributes:
        mentioned: Number of introduced terms that the sentences so far mention.
        names: Names in the noun phrases so far.
    """

    def __init__(
        self, phrases: Phrases, world: World, rng: SeededRandom, introduced: Sequence[Term], last_uses: Sequence[int]
    ) -> None:
        self.phrases = phrases
        self.world = world
        self.rng = rng
        self.introduced = introduced
        self.last_uses = last_uses
        self.handles = [self._handle(term) for term in introduced]
        self.mentioned = 0
        self.names: list[str] = []

    def patterns_of(self, term: Term) -> Patterns | None:
        """Return the patterns for a term; `None` for a name or an id."""
        phrases = self.phrases
        if term.head == RANK:
            return phrases.top(*term.value)
        if term.head == MORE:
            return phrases.winner(term.value)
        if term.head == ONLY:
            return phrases.only(term.value)
        if term.head == ATTR:
            return phrases.pointed(term.value) if self.entity(term) else phrases.shown((term.value,))
        if term.head == OUT:
            name, output = term.value
            given = frozenset(each for each, _ in term.args)
            if phrases.operations[name].kind is OperationKind.COMPARE:
                return phrases.compared(name, (output,))
            return phrases.derived(name, (output,), given)
        return None

    def usable(self, patterns: Iterable[str], args: Mapping[str, Term]) -> list[str]:
        """Return the usable patterns: possessives of introduced terms and persons, nothing ambiguous before `with`.

        `The hotel in the city of Hotel Map with the highest rating` is ambiguous.
        """
        long = [name for name, term in args.items() if term.head not in ATOMS and term not in self.introduced]
        return [
            each
            for each in patterns
            if ("{of}'s" not in each or self._takes_possessive(args["of"]))
            and not any(f"{{{name}}} with the " in each for name in long)
        ]

    def _takes_possessive(self, term: Term) -> bool:
        return term in self.introduced or (term.head == NAMED and term.value[0] in PEOPLE and self._is_unique(term))

    def fill(self, pattern: str, args: Mapping[str, Term], operation: Operation | None) -> str:
        """Replace the inputs in a pattern by noun phrases."""
        last = self.introduced[self.mentioned - 1] if 0 < self.mentioned <= len(self.introduced) else None
        for name, term in args.items():
            if term == last:
                if _IN % name in pattern and self.entity(term) in PLACES and self.rng.chance(0.6):
                    pattern = pattern.replace(_IN % name, "there")
                if f"{{{name}}}'s" in pattern and self.rng.chance(0.7):
                    its = "their" if self.entity(term) in PEOPLE else "its"
                    pattern = pattern.replace(f"{{{name}}}'s", its)
        if "{pair}" in pattern:
            pattern = pattern.replace("{pair}", self._pair(args["first_id"], args["second_id"]))

        def phrase(match: re.Match[str]) -> str:
            slot, term = operation.inputs.get(match[1]) if operation is not None else None, args[match[1]]
            if match[2] and self._is_new(term):
                self.names.append(term.value[1])
                return f"{term.value[1]}'s"
            return self._noun_phrase(term, slot) + (match[2] or "")

        return _SLOT.sub(phrase, pattern)

    def _noun_phrase(self, term: Term, slot: Slot | None = None) -> str:
        """Return a term inside a phrase: a constant, a name, a reference to an introduced term, or a noun phrase."""
        if term in self.introduced[: self.mentioned]:
            return self._reference(term)
        if term.head == CONST:
            return self._constant(term.value, slot)
        patterns = self.patterns_of(term)
        if patterns is None:
            return self.name(term)
        args = dict(term.args)
        return self.fill(self.rng.pick(self.usable(patterns.nouns, args)), args, self.operation(term))

    def _reference(self, term: Term) -> str:
        """Return `that city`, or `the second city` if a later sentence uses another one."""
        index = self.introduced.index(term)
        handle = self.handles[index]
        same_handle = [each for each in range(len(self.introduced)) if self.handles[each] == handle]
        others = [each for each in same_handle if each < self.mentioned and each != index]
        if all(each < index and self.last_uses[each] < self.mentioned for each in others):
            return f"that {handle}"
        return f"the {_ORDINALS[same_handle.index(index)]} {handle}"

    def _pair(self, first: Term, second: Term) -> str:
        if first.head == second.head == NAMED and not {first, second} & set(self.introduced[: self.mentioned]):
            entity = first.value[0]
            if not self.phrases.entities[entity].record:
                self.names += [first.value[1], second.value[1]]
                return f"the {self.phrases.plural(entity)} {first.value[1]} and {second.value[1]}"
        return " and ".join(
            self.name(each, typed=True) if self._is_new(each) else self._noun_phrase(each) for each in (first, second)
        )

    def _is_new(self, term: Term) -> bool:
        """Return True if a term is a row that no sentence has named yet."""
        return term.head in (NAMED, ID) and term not in self.introduced[: self.mentioned]

    def name(self, term: Term, typed: bool = False) -> str:
        """Return a row's name or id; with `typed` always with its type, else if the name is not unique."""
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
        """Return True if one table alone has this name. A name unknown to its table may be in another."""
        entity, name = term.value
        return self.world.tables_named(name) == (entity,)

    def _constant(self, value: Any, slot: Slot | None) -> str:
        kind = slot.type if slot is not None else None
        if kind is None or isinstance(value, bool):
            return str(value)
        if kind.kind is ValueKind.DATE and self.rng.chance(0.5):
            day = date.fromisoformat(value)
            return f"{day.day} {day:%B} {day.year}"
        if kind.kind is ValueKind.TEXT:
            self.names.append(value)
        return f"{value}{UNITS.get(kind.unit, f' {kind.unit}')}" if kind.unit else str(value)

    def operation(self, term: Term) -> Operation | None:
        """Return the operation of a term; `None` if it has none."""
        if term.head in (RANK, OUT):
            return self.phrases.operations[term.value[0]]
        return self.phrases.operations[term.value] if term.head in (MORE, ONLY) else None

    def _kind(self, term: Term) -> SemanticType | None:
        """Return the type of a value or reference; `None` for other rows."""
        if term.head == ATTR:
            entity, _, name = term.value.partition(".")
            return self.phrases.entities[entity].attribute(name).type
        if term.head == OUT:
            return self.phrases.operations[term.value[0]].outputs[term.value[1]].type
        return None

    def entity(self, term: Term) -> str:
        """Return the entity type of a row; empty for a value."""
        if term.head in (NAMED, ID):
            return str(term.value[0])
        kind, operation = self._kind(term), self.operation(term)
        if kind is not None:
            return kind.entity if kind.kind is ValueKind.ID else ""
        return operation.subject if operation is not None else ""

    def _handle(self, term: Term) -> str:
        entity, kind = self.entity(term), self._kind(term)
        if entity and term.head == ATTR:
            return self.phrases.handle(term.value)
        if entity or kind is None:
            return self.phrases.noun(entity)
        return HANDLES.get(kind.name, "value")
