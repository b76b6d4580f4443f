"""ComplexFuncBench's tasks for the registry of benchmarks."""

import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

from steptool_env.benchmarks.oracle import GoldOracle
from steptool_env.benchmarks.plan_graph import ANSWER, QUERY, Edge, PlanCall, PlanGraph
from steptool_env.benchmarks.solutions import PackagedSolutions
from steptool_env.complexfuncbench.benchmark import load_benchmark
from steptool_env.complexfuncbench.grading import CallGrading
from steptool_env.complexfuncbench.suite import NAME
from steptool_env.complexfuncbench.task import GoldTask
from steptool_env.types import Task

_RULE = "An answer after the calls of the gold plan; look-ups may be missing, and the text of the answer is not graded."


class RecordedSolutions(PackagedSolutions[GoldTask]):
    """Tasks of ComplexFuncBench, solved by the calls of their reference solutions."""

    name = NAME
    solution_type = GoldTask
    every_group: ClassVar = {"group": ""}
    shown: ClassVar = {"max_observation_length": 300}

    def load(self) -> Mapping[str, GoldTask]:
        """See `PackagedSolutions.load`."""
        return load_benchmark().tasks

    def oracle(self, solution: GoldTask) -> GoldOracle:
        """See `BenchmarkSolutions.oracle`. ComplexFuncBench as it is shipped has no answers, and grades no text."""
        return GoldOracle([solution.calls], "These are the results of the calls above.")

    def grading(self, task: Task) -> CallGrading:
        """See `BenchmarkSolutions.grading`."""
        return CallGrading(self.solution_of(task), task.tools)

    def describe(self, solution: GoldTask) -> Iterator[str]:
        """See `BenchmarkSolutions.describe`."""
        yield f"{solution.id}, pattern {solution.pattern}, depth {solution.depth}: {solution.query}"
        if not solution.is_grounded:
            yield "needs an identifier that nothing states"
        needed = {call.function for call in solution.calls}
        for name in solution.functions:
            yield f"  {'needed' if name in needed else '      '}  {name}"

    def plan(self, solution: GoldTask) -> PlanGraph:
        """See `BenchmarkSolutions.plan`. Look-ups, which may be missing, are dashed."""
        calls, edges = {}, list[Edge]()
        for index, call in enumerate(solution.calls):
            name, sources = f"call{index}", dict.fromkeys(holders[0] for holders in call.inputs)
            inputs = (f"{each} = {json.dumps(value, ensure_ascii=False)}" for each, value in call.arguments.items())
            fed = tuple(f"a value from call {source + 1}" for source in sources)
            calls[name] = PlanCall(call.function, tuple(inputs), fed, optional=call.is_lookup)
            edges += [Edge(f"call{source}", name) for source in sources] or [Edge(QUERY, name)]
        edges += [Edge(f"call{index}", ANSWER) for index in solution.leaves]
        dashed = tuple(name for name, call in calls.items() if call.optional)
        return PlanGraph(solution.query, calls, tuple(edges), rule=_RULE, dashed=dashed)
