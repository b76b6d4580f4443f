"""Puts a plan into words: each call becomes a noun phrase, and phrases nest as the values flow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from toolserver.world.schema import EntityType, Kind, Operation, OperationKind, Slot
from toolserver.world.streams import Stream
from toolserver.world.tasks.idioms import COMPUTED, OPTIONAL, ORDERED, PLACED_IN
from toolserver.world.tasks.plan import From, Given, Plan, Source
from toolserver.world.world import World

_TITLES = frozenset({"name", "title"})


class Phrasing:
    """The words for one plan.

    Args:
        world: Where its names come from.
        plan: The plan.
        stream: Draws between ways to say the same.
    """

    def __init__(self, world: World, plan: Plan, stream: Stream) -> None:
        self.world = world
        self.plan = plan
        self.stream = stream
        self._spoken: dict[int, str] = {}

    def asked(self) -> str:
        """What the plan asks for, as one noun phrase."""
        node, names = self.plan.asked[0].node, [each.output for each in self.plan.asked]
        operation = self.plan.results[node].operation
        return _ASKED[operation.kind](self, node, operation, names)

    def order(self) -> str:
        """What the plan wants done, as an imperative, for plans that end in a change of state."""
        node = len(self.plan.nodes) - 1
        operation = self.plan.results[node].operation
        idiom = ORDERED.get(operation.name)
        if idiom is None:
            named = "".join(f", {_word(slot)} {{{name}}}" for name, slot in operation.inputs.items() if slot.required)
            ends = operation.kind is OperationKind.CANCEL
            idiom = f"cancel {{{next(iter(operation.inputs))}}}" if ends else f"{operation.phrase.lower()}{named}"
        return self._filled(node, operation, idiom)

    def entity(self, node: int) -> str:
        """The row that a call is about or leads to, said the same way each time."""
        spoken = self._spoken.get(node)
        if spoken is None:
            operation = self.plan.results[node].operation
            spoken = self._spoken[node] = _ENTITY[operation.kind](self, node, operation)
        return spoken

    def value(self, source: Source, slot: Slot) -> str:
        """An input, as the query states or describes it."""
        if isinstance(source, Given):
            if slot.type.kind is Kind.ID:
                return f"the {self.world.entities[slot.type.entity].label} {source.value}"
            return self.constant(source.value, slot)
        operation = self.plan.results[source.node].operation
        if slot.type.kind is Kind.ID and operation.kind in _LEADS:
            return self.entity(source.node)
        return _ASKED[operation.kind](self, source.node, operation, [source.output])

    def constant(self, value: Any, slot: Slot) -> str:
        """A stated value with its unit."""
        if slot.type.kind is Kind.DATE and self.stream.chance(0.5):
            day = date.fromisoformat(value)
            return f"{day.day} {day:%B} {day.year}"
        if slot.type.kind is Kind.BOOLEAN:
            return "yes" if value else "no"
        return f"{value} {slot.type.unit}" if slot.type.unit else str(value)

    # The words of each kind of operation: for the row that it leads to, and for the values that it gives.

    def found(self, node: int, operation: Operation) -> str:
        """`the city Talby`, `Talby`, `the reservation of guest Mira Tollan`."""
        entity, (name, source) = self._subject(operation), next(iter(self.plan.nodes[node].inputs.items()))
        spoken = self.value(source, operation.inputs[name])
        title = entity.attributes[0].label
        if title not in _TITLES:
            return f"the {entity.label} of {title} {spoken}"
        if entity.label in spoken.lower():
            return spoken
        return self.stream.pick((f"the {entity.label} {spoken}", f"the {entity.label} called {spoken}", spoken))

    def top(self, node: int, operation: Operation) -> str:
        """`the hotel with the highest rating in Talby`. The measure comes first, so that nested ones stay apart."""
        extreme = "lowest" if self._input(node, "order") == "ascending" else "highest"
        label = self._subject(operation).label
        return f"the {label} with the {extreme} {self._measure(operation)}{self._scope(node, operation)}"

    def winner(self, node: int, operation: Operation) -> str:
        """`whichever of Talby and Velmora has the higher population`."""
        first, second = self._inputs(node, operation)
        return f"whichever of {first} and {second} has the higher {self._measure(operation)}"

    def pointed(self, node: int, operation: Operation) -> str:
        """`the city of Hotel Ember`: the row that a reference of another row points to."""
        names = self.plan.used_outputs(node)
        ids = [name for name in names if operation.outputs[name].type.kind is Kind.ID]
        return self.shown(node, operation, ids)

    def only(self, node: int, operation: Operation) -> str:
        """`the only hotel in Talby`."""
        return f"the only {self._subject(operation).label}{self._scope(node, operation)}"

    def shown(self, node: int, operation: Operation, names: list[str]) -> str:
        """`the price per night and the rating of Hotel Ember`."""
        return f"{self._labels(operation, names)} of {self._inputs(node, operation)[0]}"

    def ranked(self, node: int, operation: Operation, names: list[str]) -> str:
        """`the hotel with the highest rating in Talby, with its rating`."""
        if operation.attribute not in names:
            return self.entity(node)
        if len(names) == 1:
            return f"the {self._measure(operation)} of {self.entity(node)}"
        return f"{self.entity(node)}, with its {self._measure(operation)}"

    def compared(self, node: int, operation: Operation, names: list[str]) -> str:
        """`the difference in population between Talby and Velmora`."""
        first, second = self._inputs(node, operation)
        difference = f"the difference in {self._measure(operation)} between {first} and {second}"
        if "difference" not in names:
            return self.winner(node, operation)
        more = f"which of them has the higher {self._measure(operation)}"
        return difference if len(names) == 1 else f"{difference}, and {more}"

    def averaged(self, node: int, operation: Operation, names: list[str]) -> str:
        """`the average price per night of the hotels in Talby, and how many there are`."""
        plural, scope = self._subject(operation).plural, self._scope(node, operation)
        if names == ["count"]:
            return f"the number of {plural}{scope}"
        average = f"the average {self._measure(operation)} of the {plural}{scope}"
        return f"{average}, and how many there are" if "count" in names else average

    def all_of(self, node: int, operation: Operation, names: list[str]) -> str:
        """`the name of every hotel in Talby`."""
        entity = self._subject(operation)
        title = entity.attributes[0].label
        if names and names[0] != entity.attributes[0].name:
            return self.shown(node, operation, names)
        return f"the {title} of every {entity.label}{self._scope(node, operation)}"

    def computed(self, node: int, operation: Operation, names: list[str]) -> str:
        """`the distance between Talby and Velmora`."""
        idiom = COMPUTED.get(operation.name)
        if idiom is None:
            parts = " and ".join(
                f"{_word(operation.inputs[name])} {self.value(source, operation.inputs[name])}"
                for name, source in self.plan.nodes[node].inputs.items()
            )
            idiom = f"{{asked}} for {parts}"
        return self._filled(node, operation, idiom).replace("{asked}", self._labels(operation, names))

    def _filled(self, node: int, operation: Operation, idiom: str) -> str:
        for name, source in self.plan.nodes[node].inputs.items():
            value = self.value(source, operation.inputs[name])
            if f"{{{name}}}" in idiom:
                idiom = idiom.replace(f"{{{name}}}", value)
            else:
                word = _word(operation.inputs[name]).removeprefix("number of ").replace("quantity", "of them")
                idiom += OPTIONAL[name].format(value) if name in OPTIONAL else f", {value} {word}"
        return idiom

    def _scope(self, node: int, operation: Operation) -> str:
        """What narrows a list: ` in Talby`, ` whose origin is Talby`, ` whose style is budget`."""
        parts = []
        for name, source in self.plan.nodes[node].inputs.items():
            slot = operation.inputs[name]
            if slot.test:
                parts.append(f" whose {_attribute(self.world, operation, slot)} is {_TESTS[slot.test]}"
                             f"{self.value(source, slot)}")  # fmt: skip
            elif slot.type.kind is Kind.ID:
                parts.append(self._relation(operation, name, self.value(source, slot)))
        return " and".join(parts)

    def _relation(self, operation: Operation, name: str, parent: str) -> str:
        reference = self._subject(operation).attribute(name)
        if reference.label == self.world.entities[reference.type.entity].label:
            return f" {'in' if reference.type.entity in PLACED_IN else 'of'} {parent}"
        return f" whose {reference.label} is {parent}"

    def _subject(self, operation: Operation) -> EntityType:
        return self.world.entities[operation.subject]

    def _measure(self, operation: Operation) -> str:
        return self._subject(operation).attribute(operation.attribute).label

    def _labels(self, operation: Operation, names: list[str]) -> str:
        labels = (operation.outputs[name].label.removesuffix(" of that amount") for name in names)
        return " and ".join(f"the {label}" for label in labels)

    def _inputs(self, node: int, operation: Operation) -> list[str]:
        return [self.value(source, operation.inputs[name]) for name, source in self.plan.nodes[node].inputs.items()]

    def _input(self, node: int, name: str) -> Any:
        source = self.plan.nodes[node].inputs.get(name)
        return None if source is None or isinstance(source, From) else source.value


_TESTS = {"is": "", "min": "at least ", "max": "at most "}
_ENTITY: dict[OperationKind, Callable[[Phrasing, int, Operation], str]] = {
    OperationKind.SEARCH: Phrasing.found,
    OperationKind.RANK: Phrasing.top,
    OperationKind.COMPARE: Phrasing.winner,
    OperationKind.DETAILS: Phrasing.pointed,
    OperationKind.LOOKUP: Phrasing.pointed,
    OperationKind.RELATED: Phrasing.only,
}
_LEADS = frozenset(_ENTITY)
_ASKED: dict[OperationKind, Callable[[Phrasing, int, Operation, list[str]], str]] = {
    OperationKind.DETAILS: Phrasing.shown,
    OperationKind.LOOKUP: Phrasing.shown,
    OperationKind.SEARCH: Phrasing.shown,
    OperationKind.RANK: Phrasing.ranked,
    OperationKind.COMPARE: Phrasing.compared,
    OperationKind.AGGREGATE: Phrasing.averaged,
    OperationKind.LIST: Phrasing.all_of,
    OperationKind.RELATED: Phrasing.all_of,
    OperationKind.COMPUTE: Phrasing.computed,
}


def _word(slot: Slot) -> str:
    """The words for an input without the mention of an id."""
    return slot.label.removeprefix("id of the ").removeprefix("full name of the ")


def _attribute(world: World, operation: Operation, slot: Slot) -> str:
    return world.entities[operation.subject].attribute(slot.attribute).label
