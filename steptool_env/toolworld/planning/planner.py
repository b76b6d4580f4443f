"""Samples plans: operations, their chains, and stated constants."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from steptool_env.toolworld.planning.call_chains import CallChains, Supplier, needed
from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.constants import Draw, drawing
from steptool_env.toolworld.planning.families import verb_of
from steptool_env.toolworld.planning.plan import Asked, From, Given, Node, Plan, Source, depth_of
from steptool_env.toolworld.planning.questions import ask, may_ask
from steptool_env.toolworld.planning.sound_calls import SoundCalls
from toolserver.world.schema import Operation, OperationKind, Result, SemanticType, ValueKind
from toolserver.world.seeded_random import SeededRandom

_ATTEMPTS = 4
_SHARES = 4
_DRAWS = 3  # draws for one input before the attempt fails
_NEAR = 0.002  # relative tolerance of the verifier for quantities
_OPTIONAL = 0.35  # probability that an optional input is stated


class SamplingFailed(Exception):  # noqa: N818  the end of one attempt, not an error
    """Raised inside this module if an attempt leads to a value that does not exist or is not unique."""


class _Inputs(NamedTuple):
    """Inputs of an operation, each with the function that draws a stated value.

    Attributes:
        needed: Name, type and function of each required input.
        optional: Name and function of each other input that a query may state: a quantity, the order of a ranking.
    """

    needed: Sequence[tuple[str, SemanticType, Draw]]
    optional: Sequence[tuple[str, Draw]]


@lru_cache(maxsize=4096)
def _inputs_of(operation: Operation) -> _Inputs:
    required = needed(operation).items()
    optional = [(name, slot) for name, slot in operation.inputs.items() if not slot.required]
    if operation.kind is OperationKind.RANK:
        optional = [(name, slot) for name, slot in optional if slot.type.kind is ValueKind.ENUM]
    elif not operation.kind.writes and operation.kind is not OperationKind.COMPUTE:
        optional = []
    return _Inputs(
        [(name, slot.type, drawing(operation, name)) for name, slot in required],
        [(name, drawing(operation, name)) for name, _ in optional],
    )


class Target(NamedTuple):
    """Last call of a plan. With `by_id` the query states the id that it takes."""

    operation: Operation
    by_id: bool = False


class Planner:
    """Samples plans over a set of operations and executes them.

    Args:
        columns: Columns of the world in which the plans are executed.
        calls: Calls in this world.
        chains: Chains of the operations.
    """

    def __init__(self, columns: Columns, calls: SoundCalls, chains: CallChains) -> None:
        self.columns = columns
        self.calls = calls
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
            repeated: list[Sequence[Target]] = []
            for group in groups.values():
                ways = max(self.chains.ways(each.operation, depth) for each in group)
                repeated += [group] * min(_SHARES, 1 + ways // 3)
            goals = self._goals[depth] = tuple(repeated)
        return goals

    def sample(self, rng: SeededRandom, depth: int, target: Target) -> Plan | None:
        """Sample a plan that ends in `target` and whose longest chain has `depth` calls; `None` if attempts fail."""
        if not target.by_id and not self.chains.ends(target.operation, depth):
            return None
        if depth > 1 and not self.chains.deep_inputs(target.operation, depth - 1):
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
        self.calls = planner.calls
        self.chains = planner.chains
        self.rng = rng
        self.inputs: list[dict[str, Source]] = []
        self.results: list[Result] = []

    def plan(self, target: Target, depth: int) -> Plan:
        """Sample a plan that ends in `target`. Raises `SamplingFailed`."""
        operation = target.operation
        inputs = self._draw_inputs(operation, depth, target.by_id)
        if not operation.kind.writes and not may_ask(self.columns, operation):
            raise SamplingFailed
        last = self._add(operation, inputs, self._arguments(inputs))
        result = self.results[last]
        asked: tuple[Asked, ...] = ()
        if not operation.kind.writes:
            stated = {each.value for inputs in self.inputs for each in inputs.values() if isinstance(each, Given)}
            asked = ask(self.columns, result, last, stated, self.rng)
            if not asked or all(self._is_known(last, each.output) for each in asked):
                raise SamplingFailed
        nodes = tuple(
            [Node(each.operation.name, inputs) for each, inputs in zip(self.results, self.inputs, strict=True)]
        )
        if depth_of(nodes) != depth:  # two branches share a node
            raise SamplingFailed
        return Plan(nodes, tuple(self.results), asked)

    def _draw_inputs(self, operation: Operation, depth: int, by_id: bool = False) -> dict[str, Source]:
        """Draw the inputs of a call at the end of a chain of `depth`, and add the calls that supply them."""
        inputs: dict[str, Source] = {}
        deep = ""
        if depth > 1:  # the input that the rest of the chain supplies
            fit = self.chains.deep_inputs(operation, depth - 1)
            if not fit:
                raise SamplingFailed
            deep = self.rng.pick(fit)
        required, optional = _inputs_of(operation)
        for name, kind, draw in required:
            if name == deep:
                inputs[name] = self._supplied(operation, name, depth - 1)
            elif by_id or kind.kind is not ValueKind.ID:
                inputs[name] = Given(draw(self.world, self.rng))
            else:
                inputs[name] = self._supplied(operation, name, self.chains.shallowest(kind))
        for name, draw in optional:
            if self.rng.chance(_OPTIONAL):
                inputs[name] = Given(draw(self.world, self.rng))
        return inputs

    def _supplied(self, taker: Operation, name: str, depth: int) -> From:
        """Draw the source of an input: a chain of `depth` calls.

        A short chain that fails is drawn again, which costs less than another attempt. For long chains the number of
        draws would grow exponentially.
        """
        suppliers = self.chains.suppliers(taker, name, depth)
        if not suppliers:
            raise SamplingFailed
        mark = len(self.results)
        for _ in range(_DRAWS - 1 if depth <= 2 else 0):
            try:
                return self._drawn(self.rng.pick(self.rng.pick(suppliers)), depth)
            except SamplingFailed:
                del self.inputs[mark:], self.results[mark:]
        return self._drawn(self.rng.pick(self.rng.pick(suppliers)), depth)

    def _drawn(self, supplier: Supplier, depth: int) -> From:
        operation = supplier.operation
        inputs = self._draw_inputs(operation, depth)
        arguments = self._arguments(inputs)
        related = operation.kind is OperationKind.RELATED
        if related and len(arguments) == 1:  # count the children of a row without making their rows
            ((reference, parent),) = arguments.items()
            if len(self.world.where(operation.subject, reference, parent)) > 1:
                raise SamplingFailed
        node = self._add(operation, inputs, arguments)
        if related and len(self.results[node].rows) > 1:
            raise SamplingFailed
        if operation.kind is not OperationKind.COMPARE and self._is_known(node, supplier.output):
            raise SamplingFailed
        return From(node, supplier.output)

    def _arguments(self, inputs: Mapping[str, Source]) -> dict[str, Any]:
        arguments = {}
        for name, source in inputs.items():  # a loop for speed: every call of every attempt comes here
            if isinstance(source, Given):
                arguments[name] = source.value
            else:
                arguments[name] = self.results[source.node].values[source.output]
        return arguments

    def _add(self, operation: Operation, inputs: dict[str, Source], arguments: dict[str, Any]) -> int:
        for index, each in enumerate(self.results):
            if each.operation is operation and self.inputs[index] == inputs:
                return index
        result = self.calls.result(operation, arguments)
        if result is None:
            raise SamplingFailed
        self.inputs.append(inputs)
        self.results.append(result)
        return len(self.results) - 1

    def _is_known(self, node: int, output: str) -> bool:
        """Return True if an earlier result contains an output of a call, so that the call is needless.

        A computed number within 0.2 % of one of its arguments is known, too.
        """
        result, earlier = self.results[node], self.results[:node]
        kind, first = result.operation.outputs[output], result.rows[0]
        value = first.values[output]
        if kind.type.kind is ValueKind.ID:
            for each in earlier:  # a loop for speed: every call of every attempt comes here
                for row in each.rows:
                    if value in row.values.values():
                        return True
            return False
        if result.operation.kind is OperationKind.COMPUTE and kind.type.kind in (ValueKind.INTEGER, ValueKind.NUMBER):
            arguments = [each for each in result.arguments.values() if type(each) in (int, float)]
            return any(abs(value - each) <= _NEAR * abs(value) for each in arguments)  # at 60 km/h, km are minutes
        return not kind.derived and any(
            row.entity == first.entity
            and any(each.operation.outputs[name].attribute == kind.attribute for name in row.values)
            for each in earlier
            for row in each.rows
        )
