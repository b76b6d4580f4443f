"""Chooses the asked outputs of the last call of a plan, so that a guess is unlikely to be right."""

from __future__ import annotations

from collections.abc import Collection

from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.plan import Asked
from toolserver.world.schema import Operation, OperationKind, Output, Result, ValueKind
from toolserver.world.seeded_random import SeededRandom

_OPEN_FROM = 20
"""A column with fewer distinct values is asked for only beside another one."""
_SMALL = 100
"""A smaller integer is asked for only beside another value."""
_SECOND = 0.3
"""Probability of a second asked value."""


def ask(
    columns: Columns, result: Result, node: int, stated: Collection[object], rng: SeededRandom
) -> tuple[Asked, ...]:
    """Choose the asked outputs of a call; empty if no output is suitable.

    Args:
        columns: Columns of the world.
        result: Result of the call.
        node: Index of the call in the plan.
        stated: Values that the query states; they are not asked for.
        rng: Random generator.
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
        if output.type.kind is not ValueKind.ID
        and result.values[name] not in stated
        and _is_sayable(columns, operation, name)
    }
    wide = [name for name, output in outputs.items() if is_open(columns, output) and not _is_small(result.values[name])]
    if not wide:
        return ()
    first = rng.pick(wide)
    chosen = {first}
    others = [name for name in outputs if name != first]
    if others and rng.chance(_SECOND):
        chosen.add(rng.pick(others))
    return tuple(Asked(node, name) for name in outputs if name in chosen)


def _is_sayable(columns: Columns, operation: Operation, name: str) -> bool:
    """Return True if a query can ask for an output. Of a ranking: the name of the first row and its measure."""
    if operation.kind is not OperationKind.RANK:
        return True
    return name in (columns.world.entities[operation.subject].attributes[0].name, operation.attribute)


def _is_small(value: object) -> bool:
    """Return True if a value is a small integer, which is easy to guess."""
    return isinstance(value, int) and abs(value) < _SMALL


def is_open(columns: Columns, output: Output) -> bool:
    """Return True if an output has so many possible values that a guess is unlikely to be right."""
    if output.type.kind in (ValueKind.ENUM, ValueKind.BOOLEAN):
        return False
    if output.derived or output.attribute.partition(".")[0] not in columns.world.entities:
        return output.type.kind is ValueKind.NUMBER or bool(output.type.unit)
    return columns.distinct(output.attribute) >= _OPEN_FROM
