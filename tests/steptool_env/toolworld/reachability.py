"""Values that the offered APIs of a task reveal in any combination: a fixpoint over the tables, not over the plan.

It uses `world.execute` alone and shares no code with `steptool_env.toolworld.planning.unsolvable`. A column is revealed
if an operation shows it or if its answer depends on it (a total, a filter, a mean): an agent could compute it from such
answers.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from steptool_env.toolworld import WorldTask
from steptool_env.toolworld.planning.plan import Given
from toolserver.world import WORLD_VERSION, World
from toolserver.world.domains import DOMAINS
from toolserver.world.samples import sample_value
from toolserver.world.schema import Operation, OperationKind, ValueKind
from toolserver.world.tables import Table
from toolserver.world.vendors import Health, VendorApi

_SAMPLES = 6


class _Row(dict[str, Any]):
    """A row that records which of its columns are read."""

    def __init__(self, entity: str, values: dict[str, Any], read: set[str]) -> None:
        super().__init__(values)
        self._entity = entity
        self._read = read

    def __getitem__(self, name: str) -> Any:
        self._read.add(f"{self._entity}.{name}")
        return super().__getitem__(name)


class _RecordingWorld(World):
    """A world that records which columns an operation reads."""

    def __init__(self, level: str) -> None:
        super().__init__(0, level, DOMAINS, WORLD_VERSION)
        self.read: set[str] = set()

    def table(self, entity: str) -> Table:
        known = entity in self._tables
        table = super().table(entity)
        if not known:
            table.rows = {row_id: _Row(entity, values, self.read) for row_id, values in table.rows.items()}
        return table

    def columns_read(self, operation: Operation) -> frozenset[str]:
        """Return the columns on which answers to an operation depend, over some calls with every input given."""
        for table in self._tables.values():
            table._indexes.clear()
            table._rankings.clear()
        self.read.clear()
        for pick in range(_SAMPLES):
            items = enumerate(operation.inputs.items())
            values = {name: sample_value(slot, self, pick + place) for place, (name, slot) in items}
            list(self.execute(operation, values).rows)
        if operation.kind is OperationKind.CANCEL:  # it reads the stock to add to it; its answer is always the same
            return frozenset(each for each in self.read if each.startswith(f"{operation.subject}."))
        return frozenset(self.read)


@cache
def _world(level: str) -> _RecordingWorld:
    return _RecordingWorld(level)


@cache
def columns_read(level: str, operation: str) -> frozenset[str]:
    """Return the columns on which the answers of an operation depend."""
    world = _world(level)
    known = world.operations.get(operation)  # a login is a vendor's own operation and reads nothing
    return frozenset() if known is None else world.columns_read(known)


def revealed(task: WorldTask) -> frozenset[str]:
    """Return the columns and types of ids that a task's working APIs reveal, from the ids that its query states."""
    level = task.columns.world.level.name
    working = [api for api in task.toolset.apis if api.health in (Health.OK, Health.STALE)]
    known = _stated(task)
    while True:
        more = set(known)
        for api in working:
            if _is_callable(api, known):
                more |= kinds(api.operation, api.operation.outputs)
                more |= columns_read(level, api.operation.name)
        if more == known:
            return frozenset(known)
        known = more


def kinds(operation: Operation, outputs: Iterable[str]) -> set[str]:
    """Return the columns and types of ids of an operation's outputs."""
    chosen = [operation.outputs[name] for name in outputs]
    return {each.type.name if each.type.kind is ValueKind.ID else each.attribute for each in chosen}


def wanted(task: WorldTask) -> set[str]:
    """Return the needed columns and types of ids of the blocked call. Without a substitute, one of them is unknown.

    A mean or a difference is replaced by its column; a ranking also needs its measure.
    """
    operation = task.plan.results[task.blocked].operation
    outputs = task.plan.used_outputs(task.blocked)
    shown = [name for name in outputs if not operation.outputs[name].derived]
    measure = {f"{operation.subject}.{operation.attribute}"} if operation.attribute else set()
    return kinds(operation, shown) | measure


def _stated(task: WorldTask) -> set[str]:
    """Return the types of the ids that the query states."""
    inputs = [
        (task.plan.results[index].operation.inputs[name].type, source)
        for index, node in enumerate(task.plan.nodes)
        for name, source in node.inputs.items()
    ]
    return {kind.name for kind, source in inputs if kind.kind is ValueKind.ID and isinstance(source, Given)}


def _is_callable(api: VendorApi, known: set[str]) -> bool:
    """Return True if every required id is known; names, dates and numbers can be guessed."""
    required = [slot.type for slot in api.operation.inputs.values() if slot.required]
    return all(kind.kind is not ValueKind.ID or kind.name in known for kind in required)
