"""Chooses what is asked about the last call of a plan, so that a guess does not pay."""

from __future__ import annotations

from collections.abc import Collection

from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.plan import Asked
from toolserver.world.schema import Kind, Operation, OperationKind, Output, Result
from toolserver.world.seeded_random import SeededRandom

_OPEN_FROM = 20
"""A column with fewer different values is asked about only beside another one."""
_SMALL = 100
"""A whole number below is asked about only beside another value."""
_SECOND = 0.3
"""How often a second thing is asked where one would do."""


def ask(
    columns: Columns, result: Result, node: int, stated: Collection[object], stream: SeededRandom
) -> tuple[Asked, ...]:
    """What to ask about a call; empty when nothing is worth asking.

    Args:
        columns: The columns of the world.
        result: What the call gave.
        node: Its place in the plan.
        stated: The values that the query states; they are not asked for.
        stream: Where the choice is drawn from.
    """
    operation = result.operation
    if operation.kind is OperationKind.SEARCH:
        return ()
    if operation.kind in (OperationKind.LIST, OperationKind.RELATED):
        named = columns.world.entities[operation.subject].attributes[0].name
        few = 2 <= len(result.rows) <= columns.world.level.rows
        return (Asked(node, named, every=True),) if few and named in operation.outputs else ()
    outputs = {
        name: output
        for name, output in operation.outputs.items()
        if output.type.kind is not Kind.ID
        and result.values[name] not in stated
        and _is_sayable(columns, operation, name)
    }
    wide = [name for name, output in outputs.items() if is_open(columns, output) and not _is_small(result.values[name])]
    if not wide:
        return ()
    first = stream.pick(wide)
    chosen = {first}
    others = [name for name in outputs if name != first]
    if others and stream.chance(_SECOND):
        chosen.add(stream.pick(others))
    return tuple(Asked(node, name) for name in outputs if name in chosen)


def _is_sayable(columns: Columns, operation: Operation, name: str) -> bool:
    """Whether the words of a question can ask for an output: of a ranking, for what came first and its measure."""
    if operation.kind is not OperationKind.RANK:
        return True
    return name in (columns.world.entities[operation.subject].attributes[0].name, operation.attribute)


def _is_small(value: object) -> bool:
    """Whether a value is a small whole number, which luck finds too easily."""
    return isinstance(value, int) and abs(value) < _SMALL


def is_open(columns: Columns, output: Output) -> bool:
    """Whether there are so many possible answers that a guess is hopeless."""
    if output.type.kind in (Kind.ENUM, Kind.BOOLEAN):
        return False
    if output.derived or output.attribute.partition(".")[0] not in columns.world.entities:
        return output.type.kind is Kind.NUMBER or bool(output.type.unit)
    return columns.distinct(output.attribute) >= _OPEN_FROM
