"""Chains of calls that a set of operations can form: their last operations, and the suppliers of an input."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from steptool_env.toolworld.planning.families import verb_of
from toolserver.world.schema import Operation, OperationKind, SemanticType, Slot, ValueKind

MAX_DEPTH = 6
_WAYS = 64
STATED = frozenset({"bill.split", "body.mass_index"})
"""Operations whose inputs the query states: nobody asks to split a bill over somebody's salary."""

_JOINABLE_UNITS = frozenset({"USD", "km", "kg", "g", "kcal", "min", "days"})
_SUPPLIERS = frozenset(
    {OperationKind.SEARCH, OperationKind.DETAILS, OperationKind.LOOKUP, OperationKind.RANK, OperationKind.COMPARE,
     OperationKind.COMPUTE, OperationKind.RELATED, OperationKind.AGGREGATE}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Supplier:
    """An output that can feed an input."""

    operation: Operation
    output: str


class CallChains:
    """Chains of calls that a set of operations can form.

    Nearly every vendor has one, so it has few objects: more would slow garbage collection.

    Args:
        operations: The operations, in a fixed order.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        # Of a series of computed rows, no row is the answer.
        self.operations = [
            each
            for each in operations
            if each.kind is not OperationKind.LOGIN and not (each.kind is OperationKind.COMPUTE and each.many)
        ]
        self._chains = dict.fromkeys([each.name for each in self.operations], 0)  # lengths, as bits
        self._shallowest: dict[str, int] = {}
        self._reach()
        # Caches: every draw of every attempt looks these up.
        self._giving: dict[tuple[str, int], Sequence[Supplier]] = {}
        self._supplying: dict[tuple[str, str, int], Sequence[Sequence[Supplier]]] = {}
        self._deep_inputs: dict[tuple[str, int], tuple[str, ...]] = {}
        self._ways: dict[tuple[str, int], int] = {}

    def suppliers(self, taker: Operation, name: str, depth: int) -> Sequence[Sequence[Supplier]]:
        """Return the outputs at the ends of chains of exactly `depth` calls that can feed an input of `taker`.

        Outputs of one group continue a plan in one family, or in few. An operation does not supply itself.
        """
        key = taker.name, name, depth
        found = self._supplying.get(key)
        if found is None:
            kind = taker.inputs[name].type
            groups: dict[tuple[str, bool], list[Supplier]] = {}
            for each in self._given(kind.name, depth):
                if _fits(each.operation, taker, kind):
                    is_row = each.output == f"{each.operation.subject}_id"
                    groups.setdefault((verb_of(each.operation), is_row), []).append(each)
            found = self._supplying[key] = tuple(groups.values())
        return found

    def deep_inputs(self, operation: Operation, depth: int) -> tuple[str, ...]:
        """Return the inputs that a chain of exactly `depth` calls can supply."""
        key = operation.name, depth
        names = self._deep_inputs.get(key)
        if names is None:
            fed = (name for name, slot in needed(operation).items() if _is_fed(operation, slot))
            names = self._deep_inputs[key] = tuple(name for name in fed if self.suppliers(operation, name, depth))
        return names

    def ways(self, operation: Operation, depth: int) -> int:
        """Return about how many families of chains of exactly `depth` calls end in an operation, at most `_WAYS`."""
        key = operation.name, depth
        count = self._ways.get(key)
        if count is None:
            groups = [
                group
                for name in (self.deep_inputs(operation, depth - 1) if depth > 1 else ())
                for group in self.suppliers(operation, name, depth - 1)
            ]
            counts = [max(self.ways(each.operation, depth - 1) for each in group) for group in groups]
            count = self._ways[key] = min(_WAYS, sum(counts) or 1)
        return count

    def shallowest(self, kind: SemanticType) -> int:
        """Return the least number of calls that supply a value of a type; 0 if none does."""
        return self._shallowest.get(kind.name, 0)

    def ends(self, operation: Operation, depth: int) -> bool:
        """Return True if an operation can end a chain of exactly `depth` calls."""
        return bool(self._chains.get(operation.name, 0) >> depth & 1)

    def targets(self, depth: int) -> list[Operation]:
        """Return the operations that can end a chain of exactly `depth` calls, without searches."""
        return [each for each in self.operations if self.ends(each, depth) and each.kind is not OperationKind.SEARCH]

    def _given(self, kind: str, depth: int) -> Sequence[Supplier]:
        """Return the outputs of a type at the ends of chains of exactly `depth` calls."""
        given = self._giving.get((kind, depth))
        if given is None:
            ends = [each for each in self.operations if self.ends(each, depth)]
            given = self._giving[kind, depth] = [outlet for each in ends for outlet in _outlets(each).get(kind, ())]
        return given

    def _reach(self) -> None:
        """Compute the lengths of the chains that can end in each operation, in increasing order."""
        reached = [each for each in self.operations if not _takes(each)[1]]
        for depth in range(1, MAX_DEPTH + 1):
            fed = set[str]()
            for operation in reached:
                self._chains[operation.name] |= 1 << depth
                fed.update(_outlets(operation))
            for kind in fed:
                self._shallowest.setdefault(kind, depth)
            reached = [each for each in self.operations if self._is_within_reach(each, fed)]

    def _is_within_reach(self, operation: Operation, fed: set[str]) -> bool:
        """Return True if a chain with an output in `fed` can continue with an operation whose other ids are known."""
        takes, finds = _takes(operation)
        return not fed.isdisjoint(takes) and all(kind in self._shallowest for kind in finds)


@lru_cache(maxsize=4096)
def needed(operation: Operation) -> Mapping[str, Slot]:
    """Return the required inputs of an operation."""
    return {name: slot for name, slot in operation.inputs.items() if slot.required}


@lru_cache(maxsize=4096)
def _takes(operation: Operation) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the types of the inputs that may come from another call, and of those that must."""
    slots = needed(operation).values()
    return (
        frozenset(slot.type.name for slot in slots if _is_fed(operation, slot)),
        tuple(slot.type.name for slot in slots if not stated(slot)),
    )


@lru_cache(maxsize=4096)
def _outlets(operation: Operation) -> Mapping[str, Sequence[Supplier]]:
    """Return the outputs of an operation that can feed an input, by the name of their type."""
    outlets: dict[str, list[Supplier]] = {}
    for name, output in operation.outputs.items() if operation.kind in _SUPPLIERS else ():
        if output.type.kind in (ValueKind.ID, ValueKind.DATE) or output.type.unit in _JOINABLE_UNITS:
            outlets.setdefault(output.type.name, []).append(Supplier(operation, name))
    return outlets


def _is_fed(operation: Operation, slot: Slot) -> bool:
    """Return True if an input may come from another call."""
    return not slot.test and operation.name not in STATED


def stated(slot: Slot) -> bool:
    """Return True if a query can state the value of an input. An id must come from another call."""
    return slot.type.kind is not ValueKind.ID


def _fits(supplier: Operation, taker: Operation, kind: SemanticType) -> bool:
    """Return True if a chain may contain the two operations; sums of sums of money make no sensible question."""
    return supplier is not taker and not (supplier.kind is taker.kind is OperationKind.COMPUTE and kind.unit == "USD")
