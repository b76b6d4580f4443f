"""Patterns for each operation: noun phrases, clauses and imperatives for its rows, outputs and effects.

A pattern is text with `{input}` for each stated input. The generator fills patterns; the parser in the tests matches
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from steptool_env.toolworld.wording import templates
from toolserver.world.schema import Operation, OperationKind, Slot, ValueKind
from toolserver.world.world import World

P = ParamSpec("P")
T = TypeVar("T")

_OPTIONAL = re.compile(r"\[([^\]]*)\]")


class Patterns(NamedTuple):
    """Patterns for one row, value or action.

    Attributes:
        nouns: Noun phrases.
        clauses: Clauses such as `which hotel in {city_id} has the highest rating`, for `?` and after `tell me`.
        be: Start of a question with a noun phrase: `What is`, `What are`, `Who is`, `Which is`; may be empty.
        introductions: Imperatives that introduce a row for later sentences, beside `find` with a noun phrase.
    """

    nouns: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    be: str = "What is"
    introductions: tuple[str, ...] = ()


def _cached(method: Callable[Concatenate[Phrases, P], T]) -> Callable[Concatenate[Phrases, P], T]:
    """Cache the results of a method of `Phrases`, by its positional arguments."""

    @wraps(method)
    def cached(phrases: Phrases, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (method.__name__, *args)
        if key not in phrases.cache:
            phrases.cache[key] = method(phrases, *args, **kwargs)
        found: T = phrases.cache[key]
        return found

    return cached


class Phrases:
    """Patterns for the operations of a world. They depend on its level alone."""

    def __init__(self, world: World) -> None:
        self.entities = world.entities
        self.operations = world.operations
        self.cache: dict[tuple[object, ...], Any] = {}

    def noun(self, entity: str) -> str:
        """Return the noun for an entity type."""
        return templates.NOUNS[entity][0] if entity in templates.NOUNS else self.entities[entity].label

    def plural(self, entity: str) -> str:
        """Return the plural for an entity type."""
        return templates.NOUNS[entity][1] if entity in templates.NOUNS else self.entities[entity].plural

    def handle(self, attribute: str) -> str:
        """Return the noun for the introduced target of a reference: `airport` for a departure airport."""
        entity, _, name = attribute.partition(".")
        reference = self.entities[entity].attribute(name)
        noun = self.noun(reference.type.entity)
        return noun if reference.label.split()[-1] == noun.split()[-1] else reference.label

    @_cached
    def pointed(self, attribute: str) -> Patterns:
        """`the city of Hotel Ember`: the target of a reference, with `{of}` for the row that has it."""
        entity, _, name = attribute.partition(".")
        reference = self.entities[entity].attribute(name)
        be = self._be(reference.type.entity)
        return Patterns((f"the {reference.label} of {{of}}", f"{{of}}'s {reference.label}"), be=be)

    @_cached
    def top(self, name: str, low: bool) -> Patterns:
        """`the hotel in Talby with the highest guest rating`."""
        operation = self.operations[name]
        entity, measure = operation.subject, self.measure(operation)
        noun, plural, scope = self.noun(entity), self.plural(entity), self._scope(operation)
        everyone, most = _all(plural, scope), measure.least if low else measure.most
        nouns, clauses = [f"the {noun}{scope} with {most}"], [f"which {noun}{scope} has {most}"]
        introductions = [f"of {everyone}, take the one with {most}", f"find out which {noun}{scope} has {most}"]
        if measure.adjectives:
            adjective = measure.adjectives[1 if low else 0]
            nouns.append(f"the {adjective} {noun}{scope}")
            clauses.append(f"which is the {adjective} {noun}{scope}")
            introductions.append(f"of {everyone}, pick the {adjective} one")
        clauses.append(f"which of {everyone} has {most}")
        return Patterns(tuple(nouns), tuple(clauses), self._be(entity), tuple(introductions))

    @_cached
    def winner(self, name: str) -> Patterns:
        """`the longer of the books Silent Harbor and Winter Road`, with `{pair}` for the two."""
        operation = self.operations[name]
        more, adjectives = self.measure(operation).more, self.measure(operation).adjectives
        introductions = [f"of {{pair}}, take the one with {more}", f"compare {{pair}} and take the one with {more}",
                 f"find out which of {{pair}} has {more}"]  # fmt: skip
        nouns: list[str] = []
        if adjectives:
            nouns.append(f"the {adjectives[2]} of {{pair}}")
            introductions += [
                f"take the {adjectives[2]} of {{pair}}",
                f"compare {{pair}} and pick the {adjectives[2]} one",
            ]
        return Patterns(
            tuple(nouns), (f"which of {{pair}} has {more}",), self._be(operation.subject), tuple(introductions)
        )

    @_cached
    def only(self, name: str) -> Patterns:
        """`the only hotel in Talby`."""
        operation = self.operations[name]
        noun, scope = self.noun(operation.subject), self._scope(operation)
        return Patterns((f"the only {noun}{scope}", f"the one {noun}{scope}"), be=self._be(operation.subject))

    @_cached
    def shown(self, attributes: tuple[str, ...]) -> Patterns:
        """`the price per night and the guest rating of Hotel Ember`, with `{of}` for the row."""
        labels = [self.label(each) for each in attributes if each not in templates.WHETHER]
        flags = [templates.WHETHER[each] for each in attributes if each in templates.WHETHER]
        plain, joint = " and the ".join(labels), " and ".join(labels)
        if flags:
            return Patterns((), (f"the {joint} of {{of}} and whether it {flags[0]}",
                             f"the {joint} of {{of}}, and whether it {flags[0]}"))  # fmt: skip
        entity, _, name = attributes[0].partition(".")
        table = self.entities[entity]
        person = table.record and name == table.attributes[0].name
        be = "What are" if len(labels) > 1 else "Who is" if person else "What is"
        return Patterns((f"the {plain} of {{of}}", f"{{of}}'s {joint}"), be=be)

    @_cached
    def ranked(self, name: str, low: bool, asked: tuple[str, ...]) -> Patterns:
        """`the hotel in Talby with the highest guest rating and its guest rating`."""
        operation = self.operations[name]
        said = self.top(name, low)
        if operation.attribute not in asked:
            return said
        noun, plural, scope = self.noun(operation.subject), self.plural(operation.subject), self._scope(operation)
        label, extreme = self.measure_label(operation), "lowest" if low else "highest"
        if len(asked) == 1:
            return Patterns((f"the {extreme} {label} among {_all(plural, scope)}",
                         f"the {extreme} {label} of any {noun}{scope}"))  # fmt: skip
        its = "their" if operation.subject in templates.PEOPLE else "its"
        nouns = (f"{said.nouns[0]}, and {its} {label}", f"{said.nouns[-1]}, along with {its} {label}")
        things = label.removeprefix("number of ")
        has = f"how many {things} {'they have' if its == 'their' else 'it has'}"
        how = has if things != label else f"what {its} {label} is"
        clauses = tuple(f"{each}, and {how}" for each in said.clauses[:1])
        return Patterns(nouns, clauses, "")

    @_cached
    def compared(self, name: str, asked: tuple[str, ...]) -> Patterns:
        """`the difference in population between Talby and Velmora`."""
        operation = self.operations[name]
        said, label = self.winner(name), self.measure_label(operation)
        if "difference" not in asked:
            return Patterns((), said.clauses + tuple(f"which is {each}" for each in said.nouns))
        difference = f"the difference in {label}"
        if len(asked) == 1:
            return Patterns((f"{difference} between {{pair}}",), (f"by how much {{pair}} differ in {label}",))
        more = self.measure(operation).more
        return Patterns((), (f"{said.clauses[0]}, and what the difference in {label} is",
                         f"which of {{pair}} has {more}, and by how much they differ in {label}"))  # fmt: skip

    @_cached
    def derived(self, name: str, asked: tuple[str, ...], given: frozenset[str]) -> Patterns:
        """`the average price per night of the hotels in Talby`, `the distance between Talby and Velmora`."""
        operation = self.operations[name]
        if operation.kind is OperationKind.AGGREGATE:
            return self._averaged(operation, asked)
        said = [templates.OUTPUTS.get(f"{name}.{each}") or operation.outputs[each].label for each in asked]
        words = " and ".join(f"the {each}" for each in said)
        nouns = (with_optional(each.replace("{asked}", words), given) for each in templates.COMPUTED[operation.name])
        return Patterns(tuple(nouns), be="What are" if len(asked) > 1 else "What is")

    def _averaged(self, operation: Operation, asked: tuple[str, ...]) -> Patterns:
        plural, scope, label = self.plural(operation.subject), self._scope(operation), self.measure_label(operation)
        if asked == ("count",):
            return Patterns((f"the number of {plural}{scope}",), (f"how many {plural} there are{scope}",))
        nouns = (f"the average {label} of the {plural}{scope}", f"the mean {label} of all {plural}{scope}",
                 f"the average {label} across all {plural}{scope}")  # fmt: skip
        if "count" not in asked:
            return Patterns(nouns)
        return Patterns((), tuple(f"{each}, and how many there are" for each in nouns))

    @_cached
    def listed(self, name: str) -> Patterns:
        """`the names of all hotels in Talby`."""
        operation = self.operations[name]
        entity, scope = self.entities[operation.subject], self._scope(operation)
        noun, plural, label = self.noun(entity.name), self.plural(entity.name), entity.attributes[0].label
        nouns = (f"the {label}s of all {plural}{scope}", f"the {label} of every {noun}{scope}",
                 f"the {label} of each {noun}{scope}")  # fmt: skip
        asks = not entity.record and not scope.startswith((" with ", " whose ", " starring "))
        clauses = (f"which {plural} are{scope}",) if asks else ()
        return Patterns(nouns, clauses, "Who are" if entity.record else "What are")

    @_cached
    def ordered(self, name: str, given: frozenset[str]) -> tuple[str, ...]:
        """Return the imperatives of an operation that changes the world."""
        found = templates.ORDERED.get(name)
        if found is None:
            first = f"{{{next(iter(self.operations[name].inputs))}}}"
            found = tuple(each.format(first) for each in templates.CANCELLED)
        return tuple(with_optional(each, given) for each in found)

    # Words.

    def measure(self, operation: Operation) -> templates.Measure:
        """Return the words for the measure of an operation."""
        key = f"{operation.subject}.{operation.attribute}"
        label = self.entities[operation.subject].attribute(operation.attribute).label
        if key in templates.MEASURES:
            return templates.MEASURES[key]
        if label.startswith("number of "):
            return templates.counted(label.removeprefix("number of "))
        return templates.graded(label)

    def measure_label(self, operation: Operation) -> str:
        """Return the noun for the measure of an operation."""
        return self.label(f"{operation.subject}.{operation.attribute}")

    def label(self, attribute: str) -> str:
        """Return the noun for an attribute, given by its qualified name."""
        entity, _, name = attribute.partition(".")
        return templates.LABELS.get(attribute) or self.entities[entity].attribute(name).label

    def _scope(self, operation: Operation) -> str:
        parts = []
        for name, slot in operation.inputs.items():
            if slot.test and slot.required:
                parts.append(self._filter(operation, name, slot))
            elif slot.type.kind is ValueKind.ID:
                parts.append(templates.SCOPES[f"{operation.subject}.{name}"].format(f"{{{name}}}"))
        return "".join(f" {each}" for each in parts)

    def _filter(self, operation: Operation, name: str, slot: Slot) -> str:
        key = f"{operation.subject}.{slot.attribute}"
        label = self.label(key)
        if key in templates.KINDS:
            return templates.KINDS[key].format(f"{{{name}}}")
        if slot.test == "is":
            return f"whose {label} is {{{name}}}"
        bound = "at least" if slot.test == "min" else "at most"
        if label.startswith("number of "):
            return f"with {bound} {{{name}}} {label.removeprefix('number of ')}"
        return f"whose {label} is {bound} {{{name}}}"

    def _be(self, entity: str) -> str:
        return "Who is" if entity in templates.PEOPLE else "Which is"


def _all(plural: str, scope: str) -> str:
    return f"the {plural}{scope}" if scope else f"all {plural}"


def with_optional(pattern: str, given: frozenset[str]) -> str:
    """Return a pattern without the optional parts whose input is not given, and without brackets."""

    def chosen(match: re.Match[str]) -> str:
        inside, _, otherwise = match[1].partition("|")
        return inside if any(f"{{{name}}}" in inside for name in given) else otherwise

    return _OPTIONAL.sub(chosen, pattern)
