"""Graph of a task's calls and values."""

from collections.abc import Iterator

from steptool_env.benchmarks.plan_graph import ANSWER, QUERY, Edge, PlanCall, PlanGraph
from steptool_env.toolworld.grading.oracle import gold_answer
from steptool_env.toolworld.planning.plan import Given
from steptool_env.toolworld.task import WorldTask
from toolserver.world.vendors.api import TOKEN_INPUT

_CHANGE = "The change that the gold plan makes, and nothing else; then any final answer."
_GIVE_UP = "The task cannot be solved with its tools: giving up is right."


def plan_graph(task: WorldTask) -> PlanGraph:
    """Return the gold plan. Its calls are `call0` for node 0 and so on, logins `login3` for vendor 3."""
    edges = tuple(_edges_of(task))
    functions = dict(_calls_of(task))
    order = {name: number for number, name in enumerate(functions, 1)}
    calls = {
        name: PlanCall(
            function,
            tuple(edge.label for edge in edges if edge.end == name and edge.start == QUERY),
            tuple(
                f"{edge.label}, from call {order[edge.start]}"
                for edge in edges
                if edge.end == name and edge.start in order
            ),
        )
        for name, function in functions.items()
    }
    rule = _GIVE_UP if not task.solvable else _CHANGE if task.plan.writes else ""
    last = end_of(task)
    return PlanGraph(
        task.query,
        calls,
        edges,
        "" if rule else last,
        rule,
        not task.solvable,
        task.query,
        last,
        (f"call{task.blocked}",) if task.blocked >= 0 else (),
    )


def end_of(task: WorldTask) -> str:
    """Return the gold answer, or `give up` for an unsolvable task."""
    return gold_answer(task) if task.solvable else "give up"


def _calls_of(task: WorldTask) -> Iterator[tuple[str, str]]:
    """Yield name and function of each call, logins included."""
    for node, api in enumerate(task.toolset.bound):
        if api.needs_token:
            yield f"login{api.vendor.index}", api.vendor.login_name
        yield f"call{node}", api.spec.function_name


def _edges_of(task: WorldTask) -> Iterator[Edge]:
    """Yield the values between the query, the calls and the answer."""
    for node, (each, api) in enumerate(zip(task.plan.nodes, task.toolset.bound, strict=True)):
        if api.needs_token:
            yield Edge(f"login{api.vendor.index}", f"call{node}", api.parameters[TOKEN_INPUT])
        for name, source in each.inputs.items():
            stated = isinstance(source, Given)
            value = task.plan.value(source) if stated or task.solvable else "?"
            yield Edge(QUERY if stated else f"call{source[0]}", f"call{node}", f"{api.parameters[name]} = {value}")
    if task.solvable:
        for asked in task.plan.asked:
            yield Edge(f"call{asked.node}", ANSWER, task.plan.results[asked.node].operation.outputs[asked.output].label)
    if not task.plan.asked or not task.solvable:
        yield Edge(f"call{len(task.plan.nodes) - 1}", ANSWER)
