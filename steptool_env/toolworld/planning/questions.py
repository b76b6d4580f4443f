"""Chooses the asked outputs of the last call of a plan, so that a guess is unlikely to be right."""

from collections.abc import Collection, Iterable, Mapping

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
_EVERY = (OperationKind.LIST, OperationKind.RELATED)
"""Kinds of operations whose rows are all asked for."""


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
    outputs = _sayable(columns, operation)
    if operation.kind in _EVERY:
        few = 2 <= len(result.rows) <= columns.world.level.rows
        return tuple(Asked(node, name, every=True) for name in outputs) if few else ()
    values = result.values
    names = [name for name in outputs if values[name] not in stated]
    wide = [name for name in names if outputs[name] and not _is_small(values[name])]
    if not wide:
        return ()
    first = rng.pick(wide)
    chosen = {first}
    others = [name for name in names if name != first]
    if others and rng.chance(_SECOND):
        chosen.add(rng.pick(others))
    return tuple(Asked(node, name) for name in names if name in chosen)


def may_ask(columns: Columns, operation: Operation) -> bool:
    """Return True if `ask` can find a suitable output in any result of an operation."""
    outputs = _sayable(columns, operation)
    return bool(outputs) if operation.kind in _EVERY else any(outputs.values())


def _sayable(columns: Columns, operation: Operation) -> Mapping[str, bool]:
    """Return the outputs that a query can ask for, and whether each is open. Ids are not among them.

    Of a ranking, these are the name of the first row and its measure; where all rows are asked for, their names.
    """
    found = columns.sayable.get(operation.name)
    if found is None:
        names: Iterable[str] = () if operation.kind is OperationKind.SEARCH else operation.outputs
        if operation.kind in (*_EVERY, OperationKind.RANK):
            named = columns.world.entities[operation.subject].attributes[0].name
            wanted = {named} if operation.kind in _EVERY else {named, operation.attribute}
            names = [name for name in names if name in wanted]
        outputs = [(name, operation.outputs[name]) for name in names]
        found = columns.sayable[operation.name] = {
            name: is_open(columns, output) for name, output in outputs if output.type.kind is not ValueKind.ID
        }
    return found


def _is_small(value: object) -> bool:
    return isinstance(value, int) and abs(value) < _SMALL


def is_open(columns: Columns, output: Output) -> bool:
    """Return True if an output has so many possible values that a guess is unlikely to be right."""
    if output.type.kind in (ValueKind.ENUM, ValueKind.BOOLEAN):
        return False
    if output.derived or output.attribute.partition(".")[0] not in columns.world.entities:
        return output.type.kind is ValueKind.NUMBER or bool(output.type.unit)
    return columns.distinct(output.attribute) >= _OPEN_FROM
