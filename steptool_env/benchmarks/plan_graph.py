"""Plans: reference solutions as graphs of calls and values, and their diagrams as Mermaid or Graphviz text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

QUERY, ANSWER = "query", "answer"


class Edge(NamedTuple):
    """Value that the query or a call supplies to a call or the answer; `label` is empty where it has no name."""

    start: str
    end: str
    label: str = ""


@dataclass(frozen=True)
class PlanCall:
    """One call of a plan.

    Attributes:
        name: Function.
        inputs: Arguments that the query states, as `name = value`.
        fed: Arguments that earlier calls supply, as `name = value, from call N`.
        step: Number (from 1) of the step that fulfilled it; 0 if none did.
        optional: True if a solution may do without the call.
    """

    name: str
    inputs: tuple[str, ...]
    fed: tuple[str, ...]
    step: int = 0
    optional: bool = False


@dataclass(frozen=True)
class PlanGraph:
    """Reference solution of a task.

    Attributes:
        query: Query of the task.
        calls: Calls by their names in the diagram, in topological order.
        edges: Values between the query, the calls and the answer.
        answer: Reference answer; empty where `rule` says which end is right.
        rule: Sentence on the right end where no one answer is right.
        gives_up: True if giving up is the right end.
        first: Text of the diagram's first node.
        last: Text of the diagram's last node.
        dashed: Names of the calls that the diagram draws dashed.
    """

    query: str
    calls: Mapping[str, PlanCall]
    edges: tuple[Edge, ...]
    answer: str = ""
    rule: str = ""
    gives_up: bool = False
    first: str = "request"
    last: str = "answer"
    dashed: tuple[str, ...] = ()

    def mermaid(self) -> str:
        """Return the graph in Mermaid's language, e.g. for a Markdown page."""
        lines = ["flowchart LR", f'    {QUERY}(["{_plain(self.first)}"])']
        lines += [f'    {name}["{_plain(call.name)}"]' for name, call in self.calls.items()]
        lines.append(f'    {ANSWER}(["{_plain(self.last)}"])')
        for edge in self.edges:
            arrow = f'-- "{_plain(edge.label)}" -->' if edge.label else "-->"
            lines.append(f"    {edge.start} {arrow} {edge.end}")
        lines += [f"    style {name} stroke-dasharray: 5 5" for name in self.dashed]
        return "\n".join(lines) + "\n"

    def graphviz(self) -> str:
        """Return the graph in the DOT language of Graphviz."""
        lines = ["digraph task {", "  rankdir=LR; node [shape=box];"]
        lines.append(f'  {QUERY} [shape=oval, label="{_plain(self.first)}"];')
        lines += [f'  {name} [label="{_plain(call.name)}"];' for name, call in self.calls.items()]
        lines.append(f'  {ANSWER} [shape=oval, label="{_plain(self.last)}"];')
        lines += [f'  {edge.start} -> {edge.end} [label="{_plain(edge.label)}"];' for edge in self.edges]
        lines += [f"  {name} [style=dashed];" for name in self.dashed]
        return "\n".join([*lines, "}"]) + "\n"


def _plain(text: str) -> str:
    """Return a text that is valid between double quotes in both languages."""
    return text.replace("\\", "/").replace('"', "'").replace("\n", " ")
