"""BFCL's tasks for the registry of benchmarks."""

import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

from steptool_env.benchmarks.oracle import GoldOracle
from steptool_env.benchmarks.plan_graph import ANSWER, QUERY, Edge, PlanCall, PlanGraph
from steptool_env.benchmarks.solutions import PackagedSolutions
from steptool_env.bfcl.grading import TurnGrading
from steptool_env.bfcl.suite import NAME
from steptool_env.types import Task
from toolserver.bfcl import BfclTask, load_tasks

_RULE = "Calls that BFCL's checkers accept in every turn: state and answers. The text of an answer is not graded."


class BfclSolutions(PackagedSolutions[BfclTask]):
    """Tasks of BFCL, solved by the calls of their reference solutions, turn by turn."""

    name = NAME
    solution_type = BfclTask
    every_group: ClassVar = {"category": ""}
    shown: ClassVar = {"max_observation_length": 300}

    def load(self) -> Mapping[str, BfclTask]:
        """See `PackagedSolutions.load`."""
        return load_tasks()

    def oracle(self, solution: BfclTask) -> GoldOracle:
        """See `BenchmarkSolutions.oracle`. The text of an answer is not graded."""
        return GoldOracle(solution.gold, "Done.")

    def grading(self, task: Task) -> TurnGrading:
        """See `BenchmarkSolutions.grading`."""
        return TurnGrading(self.solution_of(task))

    def describe(self, solution: BfclTask) -> Iterator[str]:
        """See `BenchmarkSolutions.describe`."""
        yield f"{solution.id}, scenario {solution.number}, APIs {', '.join(solution.classes)}"
        for number, (message, calls) in enumerate(zip(solution.messages, solution.gold, strict=True)):
            yield f"user: {message}"
            if number in solution.added:
                yield f"  offered from here on: {', '.join(solution.added[number])}"
            for call in calls:
                yield f"  needed  {call.function} {dict(call.arguments)}"

    def plan(self, solution: BfclTask) -> PlanGraph:
        """See `BenchmarkSolutions.plan`. Edges lead from the last call of a turn to all calls of the next."""
        calls, edges, last = dict[str, PlanCall](), list[Edge](), QUERY
        for number, turn in enumerate(solution.gold, 1):
            names = [f"call{len(calls) + place}" for place in range(len(turn))]
            for name, call in zip(names, turn, strict=True):
                inputs = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items())
                calls[name] = PlanCall(call.function, (f"turn {number}", *inputs), ())
            edges += [Edge(last, name, f"turn {number}") for name in names]
            last = names[-1] if names else last
        return PlanGraph(solution.messages[0], calls, (*edges, Edge(last, ANSWER)), rule=_RULE)
