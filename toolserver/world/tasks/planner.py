"""Samples plans: which operations, chained how, asked with which constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from toolserver.schemas import Outcome
from toolserver.world.delta import NO_CHANGES
from toolserver.world.schema import Kind, Operation, OperationKind, Result, SemanticType, Slot
from toolserver.world.streams import Stream
from toolserver.world.tasks.columns import Columns
from toolserver.world.tasks.constants import constant, given_id
from toolserver.world.tasks.effects import net_state
from toolserver.world.tasks.idioms import STATED
from toolserver.world.tasks.plan import Asked, From, Given, Node, Plan, Source
from toolserver.world.tasks.questions import ask
from toolserver.world.world import World

MAX_DEPTH = 6
_ATTEMPTS = 12
_DRAWS = 3  # draws for one input before the whole attempt is given up
_OPTIONAL = 0.35  # how often an optional input is given
_JOINABLE_UNITS = frozenset({"USD", "km", "kg", "g", "kcal", "min", "days"})
_SUPPLIERS = frozenset(
    {OperationKind.SEARCH, OperationKind.DETAILS, OperationKind.LOOKUP, OperationKind.RANK, OperationKind.COMPARE,
     OperationKind.COMPUTE, OperationKind.RELATED, OperationKind.AGGREGATE}
)  # fmt: skip


class Dead(Exception):  # noqa: N818  the end of one attempt, not an error
    """An attempt came to a value that does not exist or is not unique; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Supplier:
    """An output that can feed an input."""

    operation: Operation
    output: str


class Grammar:
    """Which plans a set of operations can form.

    Args:
        operations: The operations at hand, in a fixed order.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = [each for each in operations if each.kind is not OperationKind.LOGIN and not _is_series(each)]
        self._suppliers: dict[str, list[Supplier]] = {}
        for operation in self.operations:
            if operation.kind in _SUPPLIERS:
                for name, output in operation.outputs.items():
                    if _joins(output.type):
                        self._suppliers.setdefault(output.type.name, []).append(Supplier(operation, name))
        self.depths = self._reach()
        ends = [each for each in self.operations if each.kind is not OperationKind.SEARCH]
        self._targets = [[each for each in ends if depth in self.depths[each.name]] for depth in range(MAX_DEPTH + 1)]

    def suppliers(self, kind: SemanticType, depth: int) -> list[Supplier]:
        """What can supply a value of a type by a chain of exactly `depth` calls."""
        return [each for each in self._suppliers.get(kind.name, ()) if depth in self.depths[each.operation.name]]

    def shallowest(self, kind: SemanticType) -> int:
        """The fewest calls that supply a value of a type; 0 when none do."""
        depths = [min(self.depths[each.operation.name], default=0) for each in self._suppliers.get(kind.name, ())]
        return min((depth for depth in depths if depth), default=0)

    def targets(self, depth: int) -> list[Operation]:
        """The operations that can end a chain of exactly `depth` calls."""
        return self._targets[depth]

    def _reach(self) -> dict[str, set[int]]:
        """Per operation, the lengths of the chains that can end in it; found level by level."""
        depths: dict[str, set[int]] = {
            each.name: {1} if all(stated(slot) for slot in needed(each).values()) else set() for each in self.operations
        }
        for depth in range(2, MAX_DEPTH + 1):
            supplied = {
                name: [min(depths[each.operation.name], default=99) for each in suppliers]
                for name, suppliers in self._suppliers.items()
            }
            fed = {
                name
                for name, suppliers in self._suppliers.items()
                if any(depth - 1 in depths[each.operation.name] for each in suppliers)
            }
            for operation in self.operations:
                slots = needed(operation).values()
                if any(_is_fed(operation, slot) and slot.type.name in fed for slot in slots) and all(
                    stated(slot) or min(supplied.get(slot.type.name, [99]), default=99) < depth for slot in slots
                ):
                    depths[operation.name].add(depth)
        return depths


def _is_series(operation: Operation) -> bool:
    """Whether an operation computes several rows, none of which is the one that is meant."""
    return operation.kind is OperationKind.COMPUTE and operation.many


@lru_cache(maxsize=4096)
def needed(operation: Operation) -> Mapping[str, Slot]:
    """The inputs that a call of an operation must give."""
    return {name: slot for name, slot in operation.inputs.items() if slot.required}


def _is_worth_saying(operation: Operation, slot: Slot) -> bool:
    """Whether a question gains from giving an optional input: how many to book, which end of a ranking."""
    if operation.kind is OperationKind.RANK:
        return slot.type.kind is Kind.ENUM
    return operation.kind.writes or operation.kind is OperationKind.COMPUTE


def _is_fed(operation: Operation, slot: Slot) -> bool:
    """Whether an input may come from another call."""
    return not slot.test and operation.name not in STATED


def stated(slot: Slot) -> bool:
    """Whether a query can state a value for an input. An id must be found, unless it is where a task starts."""
    return slot.type.kind is not Kind.ID


def _fits(supplier: Operation, taker: Operation, kind: SemanticType) -> bool:
    """Whether a chain may go from one operation to the other; sums of sums of money make no sensible question."""
    return supplier is not taker and not (supplier.kind is taker.kind is OperationKind.COMPUTE and kind.unit == "USD")


def _joins(kind: SemanticType) -> bool:
    return kind.kind in (Kind.ID, Kind.DATE) or kind.unit in _JOINABLE_UNITS


class Planner:
    """Samples plans over the operations of a grammar, executing as it goes.

    Args:
        columns: The columns of the world in which the plans are executed.
        grammar: The operations at hand.
    """

    def __init__(self, columns: Columns, grammar: Grammar) -> None:
        self.columns = columns
        self.grammar = grammar

    def sample(self, stream: Stream, depth: int) -> Plan | None:
        """A plan whose longest chain has `depth` calls, or `None` when the draws led nowhere."""
        starts = [(each, False) for each in self.grammar.targets(depth)]
        if depth == 1:
            starts += [(each, True) for each in self.grammar.operations if _starts_at_id(each)]
        if not starts:
            return None
        for _ in range(_ATTEMPTS):
            target, by_id = stream.pick(starts)
            try:
                return _Attempt(self, stream).plan(target, depth, by_id)
            except Dead:
                continue
        return None


def _starts_at_id(operation: Operation) -> bool:
    ids = [slot for slot in needed(operation).values() if slot.type.kind is Kind.ID]
    return len(ids) == 1 and operation.kind is not OperationKind.COMPARE


class _Attempt:
    """One plan in the making."""

    def __init__(self, planner: Planner, stream: Stream) -> None:
        self.columns = planner.columns
        self.world = planner.columns.world
        self.grammar = planner.grammar
        self.stream = stream
        self.nodes: list[Node] = []
        self.results: list[Result] = []

    def plan(self, target: Operation, depth: int, by_id: bool) -> Plan:
        """A plan that ends in `target`. Raises `Dead` when the draws lead nowhere."""
        last = self._call(target, depth, by_id)
        asked: tuple[Asked, ...] = ()
        if not target.kind.writes:
            asked = ask(self.columns, self.results[last], last, self._stated(), self.stream)
            if not asked or all(_tells(self.results[:last], self.results[last], each.output) for each in asked):
                raise Dead
        plan = Plan(tuple(self.nodes), tuple(self.results), asked)
        if plan.depth != depth:  # two branches met in one node
            raise Dead
        return plan

    def _call(self, operation: Operation, depth: int, by_id: bool = False) -> int:
        """Add a call at the end of a chain of `depth`; the index of its node."""
        inputs: dict[str, Source] = {}
        deep = self._deep_input(operation, depth) if depth > 1 else ""
        for name, slot in needed(operation).items():
            if name == deep:
                inputs[name] = self._supplied(operation, slot.type, depth - 1)
            elif by_id and slot.type.kind is Kind.ID:
                inputs[name] = Given(given_id(self.world, slot.type.entity, self.stream))
            elif stated(slot):
                inputs[name] = Given(constant(self.world, operation, name, self.stream))
            else:
                inputs[name] = self._supplied(operation, slot.type, self.grammar.shallowest(slot.type))
        for name, slot in operation.inputs.items():
            if not slot.required and _is_worth_saying(operation, slot) and self.stream.chance(_OPTIONAL):
                inputs[name] = Given(constant(self.world, operation, name, self.stream))
        return self._add(operation, inputs)

    def _deep_input(self, operation: Operation, depth: int) -> str:
        """Which input gets the rest of the chain."""
        slots = [(name, slot) for name, slot in needed(operation).items() if _is_fed(operation, slot)]
        fit = [name for name, slot in slots if self._suppliers(operation, slot.type, depth - 1)]
        if not fit:
            raise Dead
        return self.stream.pick(fit)

    def _suppliers(self, taker: Operation, kind: SemanticType, depth: int) -> list[Supplier]:
        """What can supply an input of `taker`; never the same operation twice in a row."""
        return [each for each in self.grammar.suppliers(kind, depth) if _fits(each.operation, taker, kind)]

    def _supplied(self, taker: Operation, kind: SemanticType, depth: int) -> From:
        """A value of a type from a chain of `depth` calls.

        A short chain is drawn again when it dies, for starting all over would cost more; drawing long ones again would
        multiply.
        """
        suppliers = self._suppliers(taker, kind, depth)
        if not suppliers:
            raise Dead
        mark = len(self.nodes)
        for _ in range(_DRAWS - 1 if depth <= 2 else 0):
            try:
                return self._drawn(self.stream.pick(suppliers), depth)
            except Dead:
                del self.nodes[mark:], self.results[mark:]
        return self._drawn(self.stream.pick(suppliers), depth)

    def _drawn(self, supplier: Supplier, depth: int) -> From:
        node = self._call(supplier.operation, depth)
        result = self.results[node]
        if result.operation.kind is OperationKind.RELATED and len(result.rows) > 1:
            raise Dead
        if result.operation.kind is not OperationKind.COMPARE and _tells(self.results[:node], result, supplier.output):
            raise Dead
        return From(node, supplier.output)

    def _stated(self) -> set[object]:
        return {source.value for node in self.nodes for source in node.inputs.values() if isinstance(source, Given)}

    def _add(self, operation: Operation, inputs: dict[str, Source]) -> int:
        node = Node(operation.name, inputs)
        if node in self.nodes:
            return self.nodes.index(node)
        arguments = {
            name: source.value if isinstance(source, Given) else self.results[source.node].values[source.output]
            for name, source in inputs.items()
        }
        result = self.world.execute(operation, arguments, NO_CHANGES)
        if not _is_sound(result, arguments) or (operation.kind.writes and not _changes(result, self.world)):
            raise Dead
        self.nodes.append(node)
        self.results.append(result)
        return len(self.nodes) - 1


def _tells(results: Iterable[Result], result: Result, output: str) -> bool:
    """Whether earlier results tell already what `output` of `result` says, so that its call would be needless."""
    kind, value = result.operation.outputs[output], result.values[output]
    if kind.type.kind is Kind.ID:
        return any(value in row.values.values() for each in results for row in each.rows)
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
    if result.outcome is not Outcome.OK or not result.rows or len(set(arguments.values())) < len(arguments):
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
    return all(value is not None for row in rows for value in row.values.values())
