"""Chains of calls agree with a direct implementation of their definition."""

from functools import cache

import pytest

from steptool_env.toolworld.planning.call_chains import MAX_DEPTH, CallChains, needed, stated
from tests.toolserver.world.worlds import LEVELS, vendors
from toolserver.world.schema import Operation, OperationKind, ValueKind

TOOLS = range(0, 300, 30)


def operations(level: str, index: int) -> tuple[Operation, ...]:
    return vendors(level).tool(index).operations


def lengths_by_definition(chains: CallChains) -> dict[str, set[int]]:
    """Return the chain lengths by definition: one input from a chain one shorter, other ids from shorter chains."""

    @cache
    def ends(operation: Operation, depth: int) -> bool:
        slots = needed(operation)
        if depth == 1:
            return all(stated(slot) for slot in slots.values())
        finds = [slot.type.name for slot in slots.values() if not stated(slot)]
        found = all(any(supplied(kind, shorter) for shorter in range(1, depth)) for kind in finds)
        return found and any(supplied(slots[name].type.name, depth - 1) for name in fed(operation))

    def supplied(kind: str, depth: int) -> bool:
        return any(ends(each, depth) for each in chains.operations if kind in gives(each))

    def fed(operation: Operation) -> list[str]:
        alone = {"bill.split", "body.mass_index"}
        return [name for name, slot in needed(operation).items() if not slot.test and operation.name not in alone]

    return {each.name: {depth for depth in range(1, MAX_DEPTH + 1) if ends(each, depth)} for each in chains.operations}


def gives(operation: Operation) -> set[str]:
    """Return the types of the outputs that may feed an input."""
    lists = operation.kind is OperationKind.LIST or operation.kind.writes
    units = {"USD", "km", "kg", "g", "kcal", "min", "days"}
    types = [output.type for output in operation.outputs.values()]
    joinable = {kind.name for kind in types if kind.kind in (ValueKind.ID, ValueKind.DATE) or kind.unit in units}
    return set() if lists else joinable


@pytest.mark.parametrize("level", LEVELS)
def test_chains_are_those_of_the_definition(level: str) -> None:
    for index in TOOLS:
        chains = CallChains(operations(level, index))
        lengths = lengths_by_definition(chains)
        for depth in range(1, MAX_DEPTH + 1):
            ends = {each.name for each in chains.targets(depth)}
            searches = {each.name for each in chains.operations if each.kind is OperationKind.SEARCH}
            assert ends == {name for name in lengths if depth in lengths[name]} - searches


@pytest.mark.parametrize("level", LEVELS)
def test_suppliers_end_chains_of_the_wanted_length_and_give_the_wanted_type(level: str) -> None:
    supplied = 0
    for index in TOOLS:
        chains = CallChains(operations(level, index))
        lengths = lengths_by_definition(chains)
        for taker in chains.operations:
            for name, slot in needed(taker).items():
                for depth in range(1, MAX_DEPTH):
                    for each in (one for group in chains.suppliers(taker, name, depth) for one in group):
                        assert each.operation is not taker
                        assert depth in lengths[each.operation.name]
                        assert each.operation.outputs[each.output].type.name == slot.type.name
                        supplied += 1
    assert supplied
