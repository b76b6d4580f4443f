"""Contribution of the calls of an episode: a backward search from the accepted slots to the calls with their values."""

from typing import Any

from steptool_env.toolworld.answers.slots import Verdict
from steptool_env.toolworld.grading.grader import Grade, Grader
from steptool_env.toolworld.grading.progress_tracker import FactKey, Observed, Tracker, needs_of
from steptool_env.toolworld.planning.plan import From, Given
from toolserver.world.schema import OperationKind, Result, ValueKind
from toolserver.world.vendors import VendorApi

_CHOICES = frozenset({OperationKind.RANK, OperationKind.COMPARE, OperationKind.AGGREGATE})


def contribution(grader: Grader, tracker: Tracker, grade: Grade) -> tuple[bool, ...]:
    """Return True for each step whose facts the answer or a contributing call used. Shape: (steps,)."""
    return _Contribution(grader, tracker, grade).steps()


class _Contribution:
    """Backward search from the accepted slots to the calls that supplied their facts.

    A fact counts for the call that the plan makes for it (the only candidate for a choice, a mean or a change), or
    else to the first response that contains it. The facts that this call used count in turn.
    """

    def __init__(self, grader: Grader, tracker: Tracker, grade: Grade) -> None:
        self._world = grader.task.columns.world
        self._task = grader.task
        self._tracker = tracker
        self._steps = tracker.steps
        self._slots = [
            slot
            for slot, verdict in zip(grader.verifier.slots, grade.verdicts, strict=False)
            if verdict is Verdict.RIGHT
        ]
        self._accepted = grade.solved
        self._found: set[int] = set()

    def steps(self) -> tuple[bool, ...]:
        """Return True for each step that contributed. Shape: (steps,)."""
        end = len(self._steps)
        for slot in self._slots:
            missing = {(fact.entity, fact.attribute, fact.value) for fact in slot.facts}
            if len(missing) > 1:
                missing = self._credit_pages(slot.node, missing)
            for key in sorted(missing, key=str):
                self._need_node(slot.node, end, key)
        if self._accepted and not self._task.solvable:
            for step in self._tracker.reached.values():
                self._credit(step)
        elif self._accepted and self._task.plan.writes:
            self._need_node(len(self._task.plan.nodes) - 1, end, None)
        return tuple(step in self._found for step in range(len(self._steps)))

    def _credit_pages(self, node: int, missing: set[FactKey]) -> set[FactKey]:
        """Credit the pages of a list that is asked for; return the facts that no page contains."""
        for step, observed in enumerate(self._steps):
            if node in observed.nodes and missing & observed.supplied:
                missing = missing - observed.supplied
                self._credit(step, node)
        return missing

    def _need_node(self, node: int, before: int, key: FactKey | None) -> None:
        """Credit the call before step `before` that supplied a value of a node."""
        for step in range(before):
            observed = self._steps[step]
            if node in observed.nodes and needs_of(self._task.plan, node) <= observed.supplied:
                self._credit(step, node)
                return
        if key is not None:
            self._need_fact(key, before)
        result = self._task.plan.results[node]
        if result.operation.kind in _CHOICES:
            for fact in self._source_facts(result):
                self._need_fact(fact, before)

    def _need_fact(self, key: FactKey, before: int) -> None:
        for step in range(before):
            if key in self._steps[step].supplied:
                self._credit(step)
                return

    def _credit(self, step: int, node: int = -1) -> None:
        """Credit a call and the calls whose facts it used."""
        if step in self._found:
            return
        self._found.add(step)
        observed = self._steps[step]
        if observed.api is None:
            return
        self._need_login(observed, step)
        plan = self._task.plan
        if node < 0 and observed.nodes:
            node = observed.nodes[0]
        for name, value in observed.values.items():
            source = plan.nodes[node].inputs.get(name) if node >= 0 else None
            if isinstance(source, From):
                output = plan.results[source.node].operation.outputs[source.output]
                is_id = output.type.kind is ValueKind.ID
                fact = plan.fact(source.node, source.output)
                self._need_node(source.node, step, ("id", "", value) if is_id else (fact.entity, fact.attribute, value))
            elif source is None and self._is_found_id(observed.api, name, value):
                self._need_fact(("id", "", value), step)

    def _need_login(self, observed: Observed, before: int) -> None:
        api = observed.api
        if api is None or not api.needs_token:
            return
        for step in range(before):
            if self._steps[step].api is api.login_api and self._steps[step].failed is None:
                self._found.add(step)
                return

    def _is_found_id(self, api: VendorApi, name: str, value: Any) -> bool:
        """Return True for an id that the query does not state."""
        sources = (source for node in self._task.plan.nodes for source in node.inputs.values())
        stated = any(isinstance(source, Given) and source.value == value for source in sources)
        return not stated and api.operation.inputs[name].type.kind is ValueKind.ID

    def _source_facts(self, result: Result) -> list[FactKey]:
        """Return the facts from which a choice or a mean can be computed."""
        operation, arguments = result.operation, result.arguments
        subject = self._world.entities[operation.subject]
        if operation.kind is OperationKind.COMPARE:
            ids = [arguments["first_id"], arguments["second_id"]]
        else:
            parents = [name for name, slot in operation.inputs.items() if slot.type.kind is ValueKind.ID]
            ids = self._world.every(subject.name)
            if parents:
                ids = self._world.where(subject.name, parents[0], arguments[parents[0]])
        attribute = f"{subject.name}.{operation.attribute}"
        return [
            (each, attribute, self._world.need(subject.name, each, result.changes)[operation.attribute]) for each in ids
        ]
