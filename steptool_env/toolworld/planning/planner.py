"""Samples plans: which operations, chained how, asked with which constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from steptool_env.toolworld.net_changes import net_state
from steptool_env.toolworld.planning.call_chains import CallChains, Supplier, needed, stated
from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.constants import constant, given_id
from steptool_env.toolworld.planning.plan import Asked, From, Given, Node, Plan, Source
from steptool_env.toolworld.planning.questions import ask
from toolserver.catalog.api_schema import Outcome
from toolserver.world.changes import NO_CHANGES
from toolserver.world.schema import Kind, Operation, OperationKind, Result
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.world import World

_ATTEMPTS = 12
_DRAWS = 3  # draws for one input before the whole attempt is given up
_OPTIONAL = 0.35  # how often an optional input is given


class SamplingFailed(Exception):  # noqa: N818  the end of one attempt, not an error
    """An attempt came to a value that does not exist or is not unique; never leaves this module."""


@lru_cache(maxsize=4096)
def _worth_saying(operation: Operation) -> tuple[str, ...]:
    """The optional inputs that a question gains from: how many to book, which end of a ranking."""
    optional = [(name, slot) for name, slot in operation.inputs.items() if not slot.required]
    if operation.kind is OperationKind.RANK:
        return tuple(name for name, slot in optional if slot.type.kind is Kind.ENUM)
    says = operation.kind.writes or operation.kind is OperationKind.COMPUTE
    return tuple(name for name, _ in optional) if says else ()


class Planner:
    """Samples plans over the operations of a grammar, executing as it goes.

    Args:
        columns: The columns of the world in which the plans are executed.
        grammar: The operations at hand.
    """

    def __init__(self, columns: Columns, grammar: CallChains) -> None:
        self.columns = columns
        self.grammar = grammar
        self._starts: dict[int, list[tuple[Operation, bool]]] = {}

    def _starts_of(self, depth: int) -> list[tuple[Operation, bool]]:
        """The last calls that a plan of a depth can have, and whether the query states their id."""
        starts = self._starts.get(depth)
        if starts is None:
            starts = [(each, False) for each in self.grammar.targets(depth)]
            if depth == 1:
                starts += [(each, True) for each in self.grammar.operations if _starts_at_id(each)]
            self._starts[depth] = starts
        return starts

    def sample(self, stream: SeededRandom, depth: int) -> Plan | None:
        """A plan whose longest chain has `depth` calls, or `None` when the draws led nowhere."""
        starts = self._starts_of(depth)
        if not starts:
            return None
        for _ in range(_ATTEMPTS):
            target, by_id = stream.pick(starts)
            try:
                return _Attempt(self, stream).plan(target, depth, by_id)
            except SamplingFailed:
                continue
        return None


def _starts_at_id(operation: Operation) -> bool:
    ids = [slot for slot in needed(operation).values() if slot.type.kind is Kind.ID]
    return len(ids) == 1 and operation.kind is not OperationKind.COMPARE


class _Attempt:
    """One plan in the making."""

    def __init__(self, planner: Planner, stream: SeededRandom) -> None:
        self.columns = planner.columns
        self.world = planner.columns.world
        self.grammar = planner.grammar
        self.stream = stream
        self.nodes: list[Node] = []
        self.results: list[Result] = []

    def plan(self, target: Operation, depth: int, by_id: bool) -> Plan:
        """A plan that ends in `target`. Raises `SamplingFailed` when the draws lead nowhere."""
        last = self._add(target, self._inputs(target, depth, by_id))
        asked: tuple[Asked, ...] = ()
        if not target.kind.writes:
            asked = ask(self.columns, self.results[last], last, self._stated(), self.stream)
            if not asked or all(_tells(self.results[:last], self.results[last], each.output) for each in asked):
                raise SamplingFailed
        plan = Plan(tuple(self.nodes), tuple(self.results), asked)
        if plan.depth != depth:  # two branches met in one node
            raise SamplingFailed
        return plan

    def _inputs(self, operation: Operation, depth: int, by_id: bool = False) -> dict[str, Source]:
        """The inputs of a call at the end of a chain of `depth`; the calls that supply them are added."""
        inputs: dict[str, Source] = {}
        deep = ""
        if depth > 1:  # which input gets the rest of the chain
            fit = self.grammar.deep_inputs(operation, depth - 1)
            if not fit:
                raise SamplingFailed
            deep = self.stream.pick(fit)
        for name, slot in needed(operation).items():
            if name == deep:
                inputs[name] = self._supplied(operation, name, depth - 1)
            elif by_id and slot.type.kind is Kind.ID:
                inputs[name] = Given(given_id(self.world, slot.type.entity, self.stream))
            elif stated(slot):
                inputs[name] = Given(constant(self.world, operation, name, self.stream))
            else:
                inputs[name] = self._supplied(operation, name, self.grammar.shallowest(slot.type))
        for name in _worth_saying(operation):
            if self.stream.chance(_OPTIONAL):
                inputs[name] = Given(constant(self.world, operation, name, self.stream))
        return inputs

    def _supplied(self, taker: Operation, name: str, depth: int) -> From:
        """A value for an input from a chain of `depth` calls.

        A short chain is drawn again when it dies, for starting all over would cost more; drawing long ones again would
        multiply.
        """
        suppliers = self.grammar.suppliers(taker, name, depth)
        if not suppliers:
            raise SamplingFailed
        mark = len(self.nodes)
        for _ in range(_DRAWS - 1 if depth <= 2 else 0):
            try:
                return self._drawn(self.stream.pick(suppliers), depth)
            except SamplingFailed:
                del self.nodes[mark:], self.results[mark:]
        return self._drawn(self.stream.pick(suppliers), depth)

    def _drawn(self, supplier: Supplier, depth: int) -> From:
        operation = supplier.operation
        inputs = self._inputs(operation, depth)
        related = operation.kind is OperationKind.RELATED
        if related and len(inputs) == 1 and self._children(operation, inputs) > 1:
            raise SamplingFailed
        node = self._add(operation, inputs)
        result = self.results[node]
        if related and len(result.rows) > 1:
            raise SamplingFailed
        if operation.kind is not OperationKind.COMPARE and _tells(self.results[:node], result, supplier.output):
            raise SamplingFailed
        return From(node, supplier.output)

    def _children(self, operation: Operation, inputs: Mapping[str, Source]) -> int:
        """How many rows a call from a parent to its children gives, without making them: mostly too many."""
        ((reference, source),) = inputs.items()
        return len(self.world.where(operation.subject, reference, self._value(source)))

    def _stated(self) -> set[object]:
        return {source.value for node in self.nodes for source in node.inputs.values() if isinstance(source, Given)}

    def _add(self, operation: Operation, inputs: dict[str, Source]) -> int:
        for index, each in enumerate(self.nodes):
            if each.operation == operation.name and each.inputs == inputs:
                return index
        arguments = {name: self._value(source) for name, source in inputs.items()}
        result = self.world.execute(operation, arguments, NO_CHANGES)
        if not _is_sound(result, arguments) or (operation.kind.writes and not _changes(result, self.world)):
            raise SamplingFailed
        self.nodes.append(Node(operation.name, inputs))
        self.results.append(result)
        return len(self.nodes) - 1

    def _value(self, source: Source) -> Any:
        return source.value if isinstance(source, Given) else self.results[source.node].values[source.output]


def _tells(results: Iterable[Result], result: Result, output: str) -> bool:
    """Whether earlier results tell already what `output` of `result` says, so that its call would be needless."""
    kind, value = result.operation.outputs[output], result.values[output]
    if kind.type.kind is Kind.ID:
        for each in results:  # a loop, for this is asked of every call of every attempt
            for row in each.rows:
                if value in row.values.values():
                    return True
        return False
    identity = (result.rows[0].entity, kind.attribute)
    return not kind.derived and any(
        (fact.entity, fact.attribute) == identity for each in results for fact in each.facts()
    )


def _changes(result: Result, world: World) -> bool:
    """Whether a write leaves a trace, so that doing nothing is not as good."""
    created, changed = net_state(world, result.delta)
    return bool(created or changed)


def _is_sound(result: Result, arguments: Mapping[str, object]) -> bool:
    """Whether a result says one thing: found, not ambiguous, and not trivially what went in."""
    if result.outcome is not Outcome.OK or not result.rows:
        return False
    if len(arguments) > 1 and len(set(arguments.values())) < len(arguments):
        return False
    rows, operation = result.rows, result.operation
    if operation.kind is OperationKind.SEARCH:
        return len(rows) == 1
    if operation.kind is OperationKind.RANK:
        return len(rows) > 1 and rows[0].values[operation.attribute] != rows[1].values[operation.attribute]
    if operation.kind is OperationKind.COMPARE:
        return bool(result.values["difference"])
    if operation.kind is OperationKind.AGGREGATE:
        return bool(result.values["count"] > 1)
    return all(None not in row.values.values() for row in rows)
