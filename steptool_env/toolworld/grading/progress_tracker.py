"""Tracker of an episode's calls: their results, the needed calls that are done, the facts that responses contain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.task import Obstacle, WorldTask
from toolserver.catalog.api_schema import Outcome
from toolserver.world.changes import Changes
from toolserver.world.schema import Operation, OperationKind, Result, ValueKind
from toolserver.world.vendors import Health, VendorAnswer, VendorApi

FactKey = tuple[str, str, Any]
"""Identity of a fact: entity, attribute, value. An id is also a fact of its own: `("id", "", C1093)`."""

_BY_CALL = frozenset(
    {OperationKind.RANK, OperationKind.COMPARE, OperationKind.AGGREGATE, OperationKind.COMPUTE,
     OperationKind.CREATE, OperationKind.CANCEL, OperationKind.UPDATE, OperationKind.LOGIN}
)  # fmt: skip
"""Kinds whose result is not facts of rows (a choice, a mean, a change): only the same call supplies it."""

_SLACK = 0.005
"""Relative tolerance of arguments with a unit, for conversion and rounding. Numbers without a unit must be equal."""


_PAIRS = {OperationKind.COMPARE: ("first_id", "second_id"), OperationKind.COMPUTE: ("origin_id", "destination_id")}
"""Kind -> two inputs whose order does not change the result."""


@dataclass(frozen=True, slots=True)
class Milestone:
    """One needed call.

    Attributes:
        node: Node of the plan; -1 for a login.
        api: API that the gold solution calls.
        needs: Facts that the responses must contain.
        by_call: Only the same call counts; else any response with the needed facts.
        obstacle: The call shows that the task cannot be solved.
    """

    node: int
    api: VendorApi
    needs: frozenset[FactKey] = frozenset()
    by_call: bool = True
    obstacle: bool = False


@dataclass(slots=True)
class Observed:
    """Result of one step.

    Attributes:
        api: Called API; `None` if the step called no tool of the world.
        values: Semantic arguments, defaults included; empty if they are invalid.
        supplied: Facts in the response; empty on failure.
        nodes: Nodes of the plan that make the same call.
        done: Milestones that this step is the first to reach.
        useful: The response contains a needed fact that no earlier one contains.
        failed: Outcome of a failed call.
        changed: The call changed the world.
    """

    api: VendorApi | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    supplied: frozenset[FactKey] = frozenset()
    nodes: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    useful: bool = False
    failed: Outcome | None = None
    changed: bool = False


class Tracker:
    """Record of one episode's calls and milestones.

    A result comes with an in-process response or is computed here again, so the origin of every value is known. The
    record is a deterministic function of the task, the salt and the calls.

    Args:
        task: Task of the episode.
        salt: Salt of created ids and tokens (see `toolserver.resolvers.world.changes_of`).
    """

    def __init__(self, task: WorldTask, salt: str | int = "") -> None:
        self.world = task.columns.world
        self.task = task
        self.changes = Changes((), salt)
        self.steps: list[Observed] = []
        self.milestones = milestones_of(task)
        self.reached: dict[int, int] = {}  # milestone -> step
        self._missing = [set(milestone.needs) for milestone in self.milestones]

    @property
    def progress(self) -> float:
        """Fraction of needed calls that are done; 1 if no call is needed."""
        return len(self.reached) / len(self.milestones) if self.milestones else 1.0

    @property
    def met_obstacle(self) -> bool:
        """True if giving up is right: the toolset lacks a tool, or the agent has made the call that is blocked."""
        hidden = (index for index, milestone in enumerate(self.milestones) if milestone.obstacle)
        return not self.task.solvable and all(index in self.reached for index in hidden)

    def record_no_call(self) -> Observed:
        """Record a step without a call of the world: an invalid call, an injected failure, `Finish`."""
        self.steps.append(Observed())
        return self.steps[-1]

    def record_call(self, api: VendorApi, arguments: Mapping[str, Any]) -> Observed:
        """Record a call that a server's world answered, by computing the answer here."""
        return self.record_answer(api, api.answer(self.world, arguments, self.changes))

    def record_answer(self, api: VendorApi, answer: VendorAnswer) -> Observed:
        """Record a call with the answer of the world."""
        result = answer.result
        if answer.outcome is not Outcome.OK or result is None:
            observed = Observed(api, failed=answer.outcome)
        else:
            nodes = self._nodes(api.operation, result.arguments)
            observed = Observed(api, result.arguments, supplies(result), nodes, changed=answer.changes != self.changes)
            self.changes = answer.changes
        self._reach(observed, result)
        self.steps.append(observed)
        return observed

    def _nodes(self, operation: Operation, values: Mapping[str, Any]) -> tuple[int, ...]:
        plan, name = self.task.plan, operation.name
        return tuple(
            [
                index
                for index, node in enumerate(plan.nodes)
                if node.operation == name and same_call(operation, plan.arguments(index), values)
            ]
        )

    def _reach(self, observed: Observed, result: Result | None) -> None:
        """Record the milestones that a call is the first to reach."""
        for index, milestone in enumerate(self.milestones):
            if index not in self.reached and self._reaches(index, milestone, observed, result):
                self.reached[index] = len(self.steps)
                observed.done += (index,)
                observed.useful = True

    def _reaches(self, index: int, milestone: Milestone, observed: Observed, result: Result | None) -> bool:
        if milestone.obstacle:
            return self._meets(milestone, observed, result)
        if observed.failed is not None:
            return False
        if milestone.node < 0:
            return observed.api is milestone.api
        if milestone.by_call:
            return milestone.node in observed.nodes and milestone.needs <= observed.supplied
        missing = self._missing[index]
        if not missing.isdisjoint(observed.supplied):
            missing -= observed.supplied
            observed.useful = True
        return not missing

    def _meets(self, milestone: Milestone, observed: Observed, result: Result | None) -> bool:
        """Return True if a call shows that the task cannot be solved."""
        if observed.api is None or observed.api.operation is not milestone.api.operation:
            return False
        if self.task.obstacle is Obstacle.BROKEN:
            return observed.api.health is Health.BROKEN
        return result is not None and not result.rows and milestone.node in observed.nodes


@lru_cache(maxsize=4096)
def milestones_of(task: WorldTask) -> tuple[Milestone, ...]:
    """Return the needed calls of a task in the order of the gold solution."""
    milestones: list[Milestone] = []
    for node in task.calls:
        api = task.toolset.bound[node]
        login = api.login_api
        if login is not None and all(each.api is not login for each in milestones):
            milestones.append(Milestone(-1, login))
        if node == task.blocked:
            milestones.append(Milestone(node, api, obstacle=True))
        else:
            by_call = task.plan.results[node].operation.kind in _BY_CALL
            milestones.append(Milestone(node, api, needs_of(task.plan, node), by_call))
    return tuple(milestones)


def needs_of(plan: Plan, node: int) -> frozenset[FactKey]:
    """Return the facts that a node's response must contain: the used outputs of its first row, or of all asked rows.

    An id is needed together with its row: a city's own id does not show that a restaurant is in that city.
    """
    result, used = plan.results[node], plan.used_outputs(node)
    outputs = result.operation.outputs
    return frozenset(
        (row.entity, outputs[name].attribute, row.values[name])
        for row in plan.used_rows(node)
        for name in used
        if not outputs[name].derived
    )


def supplies(result: Result) -> frozenset[FactKey]:
    """Return all facts in a result except computed values."""
    outputs = _fact_outputs(result.operation)
    return frozenset(
        [
            (entity, attribute, values[name]) if attribute else ("id", "", values[name])
            for entity, values in result.rows
            for name, attribute in outputs
            if name in values
        ]
    )


@lru_cache(maxsize=4096)
def _fact_outputs(operation: Operation) -> tuple[tuple[str, str], ...]:
    """Return name and attribute of the outputs that are not computed; ids once more without attribute."""
    shown = [(name, output) for name, output in operation.outputs.items() if not output.derived]
    facts = [(name, output.attribute) for name, output in shown]
    return (*facts, *((name, "") for name, output in shown if output.type.kind is ValueKind.ID))


def same_call(operation: Operation, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return True if two calls of an operation have the same result.

    The number of rows of a ranking and the order of two compared rows do not matter.
    """
    if _have_equal_arguments(operation, wanted, given):
        return True
    first, second = _PAIRS.get(operation.kind, ("", ""))
    if first not in operation.inputs or second not in operation.inputs:
        return False
    return _have_equal_arguments(operation, wanted, {**given, first: given.get(second), second: given.get(first)})


def _have_equal_arguments(operation: Operation, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    for name, slot in operation.inputs.items():
        value = given.get(name, slot.default)
        if name not in wanted and operation.kind is OperationKind.RANK and slot.type.kind is ValueKind.INTEGER:
            continue
        if not _equal(wanted.get(name, slot.default), value, _SLACK if slot.type.unit else 0.0):
            return False
    return True


def _equal(wanted: Any, given: Any, slack: float) -> bool:
    if wanted == given:
        return True
    if isinstance(wanted, str) and isinstance(given, str):
        return wanted.strip().casefold() == given.strip().casefold()
    if isinstance(wanted, int | float) and isinstance(given, int | float):
        return abs(wanted - given) <= slack * abs(wanted)
    return False
