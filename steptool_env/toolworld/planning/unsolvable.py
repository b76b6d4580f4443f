"""Makes a task unsolvable: an agent can detect the obstacle, and giving up is the only correct end."""

from __future__ import annotations

from dataclasses import replace

from steptool_env.toolworld.planning.plan import Given, Node, Plan
from steptool_env.toolworld.planning.toolset import Toolset, ToolsetSampler
from steptool_env.toolworld.task import Obstacle, WorldTask
from toolserver.world.schema import OperationKind, ValueKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.vendors import Health, VendorApi

OBSTACLES = (Obstacle.MISSING, Obstacle.BROKEN, Obstacle.UNKNOWN)


def make_unsolvable(
    task: WorldTask, obstacle: Obstacle, toolsets: ToolsetSampler, rng: SeededRandom
) -> WorldTask | None:
    """Return `task` with an obstacle; `None` if the obstacle does not fit the task."""
    if obstacle is Obstacle.UNKNOWN:
        return _use_unknown_name(task, rng)
    for blocked in rng.shuffled(range(len(task.plan.nodes))):
        changed = _without(task, blocked, obstacle, toolsets, rng)
        if changed is not None:
            return replace(task, toolset=changed, obstacle=obstacle, blocked=blocked)
    return None


def _use_unknown_name(task: WorldTask, rng: SeededRandom) -> WorldTask | None:
    """Replace a name in the query by one that does not exist; its search returns no row."""
    plan, world = task.plan, task.columns.world
    searches = [i for i, each in enumerate(plan.results) if each.operation.kind is OperationKind.SEARCH]
    if not searches:
        return None
    blocked = rng.pick(searches)
    node = plan.nodes[blocked]
    name, source = next(iter(node.inputs.items()))
    entity = plan.results[blocked].operation.subject
    table = world.table(entity)
    other = str(table.rows[rng.pick(world.ids(entity))][table.named])
    unknown = _spliced(str(source.value), other) if isinstance(source, Given) else ""
    if not unknown or world.find(entity, unknown) or world.tables_named(unknown):
        return None
    nodes = list(plan.nodes)
    nodes[blocked] = Node(node.operation, {name: Given(unknown)})
    changed = Plan(tuple(nodes), plan.results, plan.asked)
    return replace(task, plan=changed, obstacle=Obstacle.UNKNOWN, blocked=blocked)


def _spliced(first: str, second: str) -> str:
    """Return a name made from parts of two others."""
    start, _, _ = first.rpartition(" ")
    if start:
        return f"{start} {second.rpartition(' ')[2]}"
    return first[: len(first) // 2] + second[len(second) // 2 :].lower()


def _without(
    task: WorldTask, blocked: int, obstacle: Obstacle, toolsets: ToolsetSampler, rng: SeededRandom
) -> Toolset | None:
    """Return the toolset without a working API for a call, and without the APIs that reveal its values in another way.

    Return `None` if this call cannot be blocked.
    """
    plan, toolset = task.plan, task.toolset
    operation = plan.results[blocked].operation
    repeated = any(node.operation == operation.name for node in plan.nodes[:blocked])
    if repeated or operation.kind is OperationKind.COMPUTE or operation.kind is OperationKind.SEARCH:
        return None  # an agent can compute it, or find it in another way
    hidden = _values_of(plan, blocked)
    bound = list(toolset.bound)
    if obstacle is Obstacle.BROKEN:
        broken = toolsets.unhealthy(operation.name, Health.BROKEN, rng)
        if broken is None:
            return None
        bound = [broken if api.operation is operation else api for api in bound]
    kept = tuple(api for api in bound if api.operation is not operation)
    if any(_reveals(api, hidden) for api in kept):
        return None
    serving = tuple(bound) if obstacle is Obstacle.BROKEN else kept

    def allowed(api: VendorApi) -> bool:
        return api.operation is not operation and not _reveals(api, hidden)

    changed = toolsets.refilled(toolset, serving, allowed, rng)
    if changed is None:
        return None
    return replace(changed, bound=tuple(bound))


def _values_of(plan: Plan, node: int) -> frozenset[str]:
    """Return the needed values of a call: attributes, types of ids, and the measure of a ranking or mean."""
    operation = plan.results[node].operation
    outputs = [operation.outputs[name] for name in plan.used_outputs(node)]
    hidden = {each.type.name if each.type.kind is ValueKind.ID else each.attribute for each in outputs}
    if operation.attribute:
        hidden.add(f"{operation.subject}.{operation.attribute}")
    return frozenset(hidden)


def _reveals(api: VendorApi, hidden: frozenset[str]) -> bool:
    """Return True if an API shows one of these values, or a value from which it can be computed."""
    operation = api.operation
    outputs = operation.outputs.values()
    if any((each.type.name if each.type.kind is ValueKind.ID else each.attribute) in hidden for each in outputs):
        return True
    # A mean, a difference and a filter depend on one column; a total or a refusal on any column of a row.
    columns = {operation.attribute, *(slot.attribute for slot in operation.inputs.values() if slot.test)} - {""}
    if any(f"{operation.subject}.{column}" in hidden for column in columns):
        return True
    tables = {each.partition(".")[0] for each in hidden if "." in each}
    is_computed = operation.kind in (OperationKind.COMPUTE, OperationKind.CREATE)
    return is_computed and any(slot.type.entity in tables for slot in operation.inputs.values())
