"""Calls of a plan in the unchanged world: those with one unambiguous answer that no argument states."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from steptool_env.toolworld.net_changes import net_state
from toolserver.catalog.api_schema import Outcome
from toolserver.world.changes import NO_CHANGES
from toolserver.world.schema import Operation, OperationKind, Result
from toolserver.world.world import World

_KEPT = 4096


class SoundCalls:
    """Executes calls in the unchanged world.

    The results of the latest `_KEPT` calls with one argument are kept: most calls of most attempts are searches for the
    few names of a table, and calls for the ids that they find.
    """

    def __init__(self, world: World) -> None:
        self._execute = partial(_execute, world)
        self._kept = lru_cache(maxsize=_KEPT)(self._execute)

    def result(self, operation: Operation, arguments: Mapping[str, Any]) -> Result | None:
        """Return the result of a call; `None` if it fails, is ambiguous, or shows an argument."""
        keeps = len(arguments) == 1 and operation.kind is not OperationKind.COMPUTE and not operation.kind.writes
        return (self._kept if keeps else self._execute)(operation, *arguments.items())


def _execute(world: World, operation: Operation, *arguments: tuple[str, Any]) -> Result | None:
    given = dict(arguments)
    result = world.execute(operation, given, NO_CHANGES)
    if not _is_sound(result, given) or (operation.kind.writes and not any(net_state(world, result.changes))):
        return None
    return result


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
