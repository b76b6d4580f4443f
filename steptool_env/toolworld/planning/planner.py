"""Samples plans: operations, their chains, and stated constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from steptool_env.toolworld.net_changes import net_state
from steptool_env.toolworld.planning.call_chains import CallChains, Supplier, needed, stated
from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.constants import constant, given_id
from steptool_env.toolworld.planning.families import verb_of
from steptool_env.toolworld.planning.plan import Asked, From, Given, Node, Plan, Source
from steptool_env.toolworld.planning.questions import ask
from toolserver.catalog.api_schema import Outcome
from toolserver.world.changes import NO_CHANGES
from toolserver.world.schema import Operation, OperationKind, Result, ValueKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.world import World

_ATTEMPTS = 4
_SHARES = 4
_DRAWS = 3  # draws for one input before the attempt fails
_NEAR = 0.002  # relative tolerance of the verifier for quantities
_OPTIONAL = 0.35  # probability that an optional input is stated


class SamplingFailed(Exception):  # noqa: N818  the end of one attempt, not an error
    """Raised inside this module if an attempt leads to a value that does not exist or is not unique."""


@lru_cache(maxsize=4096)
def _optional_inputs(operation: Operation) -> tuple[str, ...]:
    """Return the optional inputs that a query may state: a quantity, the order of a ranking."""
    optional = [(name, slot) for name, slot in operation.inputs.items() if not slot.required]
    if operation.kind is OperationKind.RANK:
        return tuple(name for name, slot in optional if slot.type.kind is ValueKind.ENUM)
    says = operation.kind.writes or operation.kind is OperationKind.COMPUTE
    return tuple(name for name, _ in optional) if says else ()


class Target(NamedTuple):
    """Last call of a plan. With `by_id` the query states the id that it takes."""

    operation: Operation
    by_id: bool = False


class Planner:
    """Samples plans over a set of operations and executes them.

    Args:
        columns: Columns of the world in which the plans are executed.
        chains: Chains of the operations.
    """

    def __init__(self, columns: Columns, chains: CallChains) -> None:
        self.columns = columns
        self.chains = chains
        self._goals: dict[int, Sequence[Sequence[Target]]] = {}

    def goals(self, depth: int) -> Sequence[Sequence[Target]]:
        """Return the possible last calls of the plans of a depth, grouped by what they do.

        A group that ends many families of plans occurs up to `_SHARES` times.
        """
        goals = self._goals.get(depth)
        if goals is None:
            groups: dict[tuple[str, bool], list[Target]] = {}
            for each in self.chains.targets(depth):
                groups.setdefault((verb_of(each), False), []).append(Target(each))
            for each in self.chains.operations if depth == 1 else ():
                if _starts_at_id(each):
                    groups.setdefault((verb_of(each), True), []).append(Target(each, by_id=True))
            goals = self._goals[depth] = tuple(
                group for group in groups.values() for _ in range(self._shares(group, depth))
            )
        return goals

    def _shares(self, group: Sequence[Target], depth: int) -> int:
        return min(_SHARES, 1 + max(self.chains.ways(each.operation, depth) for each in group) // 3)

    def sample(self, rng: SeededRandom, depth: int, target: Target) -> Plan | None:
        """Sample a plan that ends in `target` and whose longest chain has `depth` calls; `None` if attempts fail."""
        if not target.by_id and not self.chains.ends(target.operation, depth):
            return None
        for _ in range(_ATTEMPTS):
            try:
                return _Attempt(self, rng).plan(target, depth)
            except SamplingFailed:
                continue
        return None


def _starts_at_id(operation: Operation) -> bool:
    ids = [slot for slot in needed(operation).values() if slot.type.kind is ValueKind.ID]
    return len(ids) == 1 and operation.kind is not OperationKind.COMPARE


class _Attempt:
    """One attempt to sample a plan."""

    def __init__(self, planner: Planner, rng: SeededRandom) -> None:
        self.columns = planner.columns
        self.world = planner.columns.world
        self.chains = planner.chains
        self.rng = rng
        self.nodes: list[Node] = []
        self.results: list[Result] = []

    def plan(self, target: Target, depth: int) -> Plan:
        """Sample a plan that ends in `target`. Raises `SamplingFailed`."""
        last = self._add(target.operation, self._inputs(target.operation, depth, target.by_id))
        asked: tuple[Asked, ...] = ()
        if not target.operation.kind.writes:
            asked = ask(self.columns, self.results[last], last, self._stated(), self.rng)
            if not asked or all(_is_known(self.results[:last], self.results[last], each.output) for each in asked):
                raise SamplingFailed
        plan = Plan(tuple(self.nodes), tuple(self.results), asked)
        if plan.depth != depth:  # two branches share a node
            raise SamplingFailed
        return plan

    def _inputs(self, operation: Operation, depth: int, by_id: bool = False) -> dict[str, Source]:
        """Draw the inputs of a call at the end of a chain of `depth`, and add the calls that supply them."""
        inputs: dict[str, Source] = {}
        deep = ""
        if depth > 1:  # the input that the rest of the chain supplies
            fit = self.chains.deep_inputs(operation, depth - 1)
            if not fit:
                raise SamplingFailed
            deep = self.rng.pick(fit)
        for name, slot in needed(operation).items():
            if name == deep:
                inputs[name] = self._supplied(operation, name, depth - 1)
            elif by_id and slot.type.kind is ValueKind.ID:
                inputs[name] = Given(given_id(self.world, slot.type.entity, self.rng))
            elif stated(slot):
                inputs[name] = Given(constant(self.world, operation, name, self.rng))
            else:
                inputs[name] = self._supplied(operation, name, self.chains.shallowest(slot.type))
        for name in _optional_inputs(operation):
            if self.rng.chance(_OPTIONAL):
                inputs[name] = Given(constant(self.world, operation, name, self.rng))
        return inputs

    def _supplied(self, taker: Operation, name: str, depth: int) -> From:
        """Draw the source of an input: a chain of `depth` calls.

        A short chain that fails is drawn again, which costs less than another attempt. For long chains the number of
        draws would grow exponentially.
        """
        suppliers = self.chains.suppliers(taker, name, depth)
        if not suppliers:
            raise SamplingFailed
        mark = len(self.nodes)
        for _ in range(_DRAWS - 1 if depth <= 2 else 0):
            try:
                return self._drawn(self.rng.pick(self.rng.pick(suppliers)), depth)
            except SamplingFailed:
                del self.nodes[mark:], self.results[mark:]
        return self._drawn(self.rng.pick(self.rng.pick(suppliers)), depth)

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
        if operation.kind is not OperationKind.COMPARE and _is_known(self.results[:node], result, supplier.output):
            raise SamplingFailed
        return From(node, supplier.output)

    def _children(self, operation: Operation, inputs: Mapping[str, Source]) -> int:
        """Return the number of children of a row, without making their rows."""
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
        if not _is_sound(result, arguments) or (operation.kind.writes and not _has_effect(result, self.world)):
            raise SamplingFailed
        self.nodes.append(Node(operation.name, inputs))
        self.results.append(result)
        return len(self.nodes) - 1

    def _value(self, source: Source) -> Any:
        return source.value if isinstance(source, Given) else self.results[source.node].values[source.output]


def _is_known(results: Iterable[Result], result: Result, output: str) -> bool:
    """Return True if an earlier result contains `output` of `result`, so that its call is needless.

    A computed number within 0.2 % of one of its arguments is known, too.
    """
    kind, value = result.operation.outputs[output], result.values[output]
    if kind.type.kind is ValueKind.ID:
        for each in results:  # a loop for speed: every call of every attempt comes here
            for row in each.rows:
                if value in row.values.values():
                    return True
        return False
    if result.operation.kind is OperationKind.COMPUTE and kind.type.kind in (ValueKind.INTEGER, ValueKind.NUMBER):
        arguments = [each for each in result.arguments.values() if type(each) in (int, float)]
        return any(abs(value - each) <= _NEAR * abs(value) for each in arguments)  # at 60 km/h, km are minutes
    identity = (result.rows[0].entity, kind.attribute)
    return not kind.derived and any(
        (fact.entity, fact.attribute) == identity for each in results for fact in each.facts()
    )


def _has_effect(result: Result, world: World) -> bool:
    """Return True if a write has a net effect."""
    created, changed = net_state(world, result.changes)
    return bool(created or changed)


def _is_sound(result: Result, arguments: Mapping[str, object]) -> bool:
    """Return True if a result exists, is unambiguous, and differs from the arguments."""
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
