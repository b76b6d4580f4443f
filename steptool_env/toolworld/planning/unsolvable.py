"""Makes a task unsolvable: a solver can find the obstacle, and giving up is the only right end."""

from __future__ import annotations

from dataclasses import replace

from steptool_env.toolworld.planning.plan import Given, Node, Plan
from steptool_env.toolworld.planning.toolset import Offers, Toolset
from steptool_env.toolworld.task import Obstacle, WorldTask
from toolserver.world.schema import Kind, OperationKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.vendors import Health, VendorApi

OBSTACLES = (Obstacle.MISSING, Obstacle.BROKEN, Obstacle.UNKNOWN)


def make_unsolvable(task: WorldTask, obstacle: Obstacle, offers: Offers, stream: SeededRandom) -> WorldTask | None:
    """`task` with an obstacle; `None` when it does not fit the task."""
    if obstacle is Obstacle.UNKNOWN:
        return _name_nothing(task, stream)
    return _take_away(task, obstacle, offers, stream)


def _name_nothing(task: WorldTask, stream: SeededRandom) -> WorldTask | None:
    """Ask about something that does not exist; its search says so."""
    plan, world = task.plan, task.columns.world
    searches = [i for i, each in enumerate(plan.results) if each.operation.kind is OperationKind.SEARCH]
    if not searches:
        return None
    blocked = stream.pick(searches)
    node = plan.nodes[blocked]
    name, source = next(iter(node.inputs.items()))
    entity = plan.results[blocked].operation.subject
    table = world.table(entity)
    other = str(table.rows[stream.pick(world.ids(entity))][table.named])
    unknown = _spliced(str(source.value), other) if isinstance(source, Given) else ""
    if not unknown or world.find(entity, unknown) or world.tables_named(unknown):
        return None
    nodes = list(plan.nodes)
    nodes[blocked] = Node(node.operation, {name: Given(unknown)})
    changed = Plan(tuple(nodes), plan.results, plan.asked)
    return replace(task, plan=changed, obstacle=Obstacle.UNKNOWN, blocked=blocked)


def _spliced(first: str, second: str) -> str:
    """A name in the style of two others."""
    start, _, _ = first.rpartition(" ")
    if start:
        return f"{start} {second.rpartition(' ')[2]}"
    return first[: len(first) // 2] + second[len(second) // 2 :].lower()


def _take_away(task: WorldTask, obstacle: Obstacle, offers: Offers, stream: SeededRandom) -> WorldTask | None:
    """Leave out, or offer only broken, what a call needs, and everything that tells the same in another way."""
    for blocked in stream.shuffled(range(len(task.plan.nodes))):
        changed = _without(task, blocked, obstacle, offers, stream)
        if changed is not None:
            return replace(task, offer=changed, obstacle=obstacle, blocked=blocked)
    return None


def _without(task: WorldTask, blocked: int, obstacle: Obstacle, offers: Offers, stream: SeededRandom) -> Toolset | None:
    """The offer without a call that works; `None` when this call cannot be blocked."""
    plan, offer = task.plan, task.offer
    operation = plan.results[blocked].operation
    repeated = any(node.operation == operation.name for node in plan.nodes[:blocked])
    if repeated or operation.kind is OperationKind.COMPUTE or operation.kind is OperationKind.SEARCH:
        return None  # a solver can do it by itself or in another way
    told = _told(plan, blocked)
    bound = list(offer.bound)
    if obstacle is Obstacle.BROKEN:
        twin = offers.twin(operation.name, Health.BROKEN, stream)
        if twin is None:
            return None
        bound = [twin if api.operation is operation else api for api in bound]
    kept = tuple(api for api in bound if api.operation is not operation)
    if any(_tells(api, told) for api in kept):
        return None
    serving = tuple(bound) if obstacle is Obstacle.BROKEN else kept

    def allowed(api: VendorApi) -> bool:
        return api.operation is not operation and not _tells(api, told)

    changed = offers.refilled(offer, serving, allowed, stream)
    if changed is None:
        return None
    return replace(changed, bound=tuple(bound))


def _told(plan: Plan, node: int) -> frozenset[str]:
    """Needed facts that a call tells: attributes, types of ids, and the measure behind a choice or a mean."""
    operation = plan.results[node].operation
    outputs = [operation.outputs[name] for name in plan.used_outputs(node)]
    told = {each.type.name if each.type.kind is Kind.ID else each.attribute for each in outputs}
    if operation.attribute:
        told.add(f"{operation.subject}.{operation.attribute}")
    return frozenset(told)


def _tells(api: VendorApi, told: frozenset[str]) -> bool:
    """True where an API shows something that is told, or answers from which it can be worked out."""
    operation = api.operation
    outputs = operation.outputs.values()
    if any((each.type.name if each.type.kind is Kind.ID else each.attribute) in told for each in outputs):
        return True
    # A mean, a difference and a filter depend on one column; a total, a fare or a refusal on any column of a row.
    columns = {operation.attribute, *(slot.attribute for slot in operation.inputs.values() if slot.test)} - {""}
    if any(f"{operation.subject}.{column}" in told for column in columns):
        return True
    tables = {each.partition(".")[0] for each in told if "." in each}
    computes = operation.kind in (OperationKind.COMPUTE, OperationKind.CREATE)
    return computes and any(slot.type.entity in tables for slot in operation.inputs.values())
