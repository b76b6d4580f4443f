"""Plan of a task, independent of words and vendors: a graph of operations that feed each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from toolserver.world.schema import Fact, Result, Row


class Given(NamedTuple):
    """An input that the query states."""

    value: Any


class From(NamedTuple):
    """An input that the first row of an earlier node's result supplies."""

    node: int
    output: str


Source = Given | From


class Node(NamedTuple):
    """One call: the operation's name, and the source of each input."""

    operation: str
    inputs: Mapping[str, Source]

    def parents(self) -> Iterator[int]:
        """Iterate over the nodes that supply an input, in the order of the inputs."""
        return (source.node for source in self.inputs.values() if isinstance(source, From))


class Asked(NamedTuple):
    """One value that the answer must state: an output of a node's first row, or of every row."""

    node: int
    output: str
    every: bool = False


@dataclass(frozen=True)
class Plan:
    """Directed acyclic graph of calls, and the values that the answer must state.

    Attributes:
        nodes: The calls, in topological order.
        results: Results of the calls in the unchanged world; the last one has the changes of the whole plan.
        asked: Values that the answer must state; empty for a task that changes the state.
    """

    nodes: tuple[Node, ...]
    results: tuple[Result, ...]
    asked: tuple[Asked, ...]

    @cached_property
    def depth(self) -> int:
        """Number of calls on the longest chain."""
        return depth_of(self.nodes)

    @property
    def writes(self) -> bool:
        """True if the last call changes the state."""
        return self.results[-1].operation.kind.writes

    @cached_property
    def signature(self) -> bytes:
        """The plan as bytes; two plans are the same if and only if their signatures are equal."""
        nodes = [
            [node.operation, {name: list(source) for name, source in sorted(node.inputs.items())}]
            for node in self.nodes
        ]
        return orjson.dumps([nodes, [list(each) for each in self.asked]])

    def fact(self, node: int, output: str, row: int = 0) -> Fact:
        """Return the fact of one output of one row of a node's result."""
        result = self.results[node]
        kind = result.operation.outputs[output]
        entity = result.derivation() if kind.derived else result.rows[row].entity
        return Fact(entity, kind.attribute, result.rows[row].values[output])

    def asked_facts(self, asked: Asked) -> tuple[Fact, ...]:
        """Return the facts of one asked value."""
        rows = range(len(self.results[asked.node].rows)) if asked.every else range(1)
        return tuple([self.fact(asked.node, asked.output, row) for row in rows])

    def used_outputs(self, node: int) -> tuple[str, ...]:
        """Return the outputs of a node that a later node or the answer uses, in the operation's order."""
        used = {
            source.output
            for later in self.nodes
            for source in later.inputs.values()
            if isinstance(source, From) and source.node == node
        } | {asked.output for asked in self.asked if asked.node == node}
        return tuple(name for name in self.results[node].operation.outputs if name in used)

    def used_rows(self, node: int) -> Sequence[Row]:
        """Return the rows of a node's result that the plan needs: all if the answer states all, else the first."""
        every = any(asked.node == node and asked.every for asked in self.asked)
        return self.results[node].rows if every else self.results[node].rows[:1]

    def arguments(self, node: int) -> dict[str, Any]:
        """Return the semantic arguments of a node's call, without defaults."""
        return {name: self.value(source) for name, source in self.nodes[node].inputs.items()}

    def value(self, source: Source) -> Any:
        """Return the value of a source."""
        return source.value if isinstance(source, Given) else self.results[source.node].values[source.output]


def depth_of(nodes: Sequence[Node]) -> int:
    """Return the number of calls on the longest chain."""
    depths: list[int] = []
    for node in nodes:
        depth = 0
        for source in node.inputs.values():  # a loop for speed: every attempt to sample a plan comes here
            if isinstance(source, From) and depths[source.node] > depth:
                depth = depths[source.node]
        depths.append(depth + 1)
    return max(depths)
