"""Draws the graph of a task's calls and values, as Mermaid or Graphviz text."""

from collections.abc import Iterator
from typing import NamedTuple

from steptool_env.toolworld.grading.oracle import gold_answer
from steptool_env.toolworld.planning.plan import Given
from steptool_env.toolworld.task import WorldTask
from toolserver.world.vendors.api import TOKEN_INPUT

QUERY, ANSWER = "query", "answer"


class Edge(NamedTuple):
    """A value that the query or a call supplies to a call or the answer."""

    start: str
    end: str
    label: str


def mermaid(task: WorldTask) -> str:
    """Return the task's graph in Mermaid's language, e.g. for a Markdown page."""
    lines = ["flowchart LR", f'    {QUERY}(["{_plain(task.query)}"])']
    lines += [f'    {name}["{_plain(label)}"]' for name, label in dict(calls_of(task)).items()]
    lines.append(f'    {ANSWER}(["{_plain(end_of(task))}"])')
    for edge in edges_of(task):
        arrow = f'-- "{_plain(edge.label)}" -->' if edge.label else "-->"
        lines.append(f"    {edge.start} {arrow} {edge.end}")
    if task.blocked >= 0:
        lines.append(f"    style call{task.blocked} stroke-dasharray: 5 5")
    return "\n".join(lines) + "\n"


def graphviz(task: WorldTask) -> str:
    """Return the task's graph in the DOT language of Graphviz."""
    lines = ["digraph task {", "  rankdir=LR; node [shape=box];"]
    lines.append(f'  {QUERY} [shape=oval, label="{_plain(task.query)}"];')
    lines += [f'  {name} [label="{_plain(label)}"];' for name, label in dict(calls_of(task)).items()]
    lines.append(f'  {ANSWER} [shape=oval, label="{_plain(end_of(task))}"];')
    lines += [f'  {edge.start} -> {edge.end} [label="{_plain(edge.label)}"];' for edge in edges_of(task)]
    if task.blocked >= 0:
        lines.append(f"  call{task.blocked} [style=dashed];")
    return "\n".join([*lines, "}"]) + "\n"


def calls_of(task: WorldTask) -> Iterator[tuple[str, str]]:
    """Yield name and function of each call, logins included: `call0` for node 0, `login3` for vendor 3."""
    for node, api in enumerate(task.toolset.bound):
        if api.needs_token:
            yield f"login{api.vendor.index}", api.vendor.login_name
        yield f"call{node}", api.spec.function_name


def edges_of(task: WorldTask) -> Iterator[Edge]:
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
        yield Edge(f"call{len(task.plan.nodes) - 1}", ANSWER, "")


def end_of(task: WorldTask) -> str:
    """Return the gold answer, or `give up` for an unsolvable task."""
    return gold_answer(task) if task.solvable else "give up"


def _plain(text: str) -> str:
    """Return a text that is valid between double quotes in both languages."""
    return text.replace("\\", "/").replace('"', "'").replace("\n", " ")
