"""tau2's telecom tasks for the registry of benchmarks."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from steptool_env.benchmarks.oracle import GoldOracle
from steptool_env.benchmarks.solutions import PackagedSolutions
from steptool_env.tau2.grading import RepairGrading
from steptool_env.types import Task
from toolserver.tau2 import CATEGORY, Tau2Task, load_tasks


class Tau2Solutions(PackagedSolutions[Tau2Task]):
    """Tasks of tau2, solved by the calls of their reference solutions."""

    name = CATEGORY
    solution_type = Tau2Task
    every_group: ClassVar = {"group": "all"}
    shown: ClassVar = {"policy": "none"}

    def load(self) -> Mapping[str, Tau2Task]:
        """See `PackagedSolutions.load`."""
        return load_tasks()

    def oracle(self, solution: Tau2Task) -> GoldOracle:
        """See `BenchmarkSolutions.oracle`. The text of an answer is not graded."""
        return GoldOracle([solution.gold], "Done.")

    def grading(self, task: Task) -> RepairGrading:
        """See `BenchmarkSolutions.grading`."""
        return RepairGrading(self.solution_of(task), task.query)

    def describe(self, solution: Tau2Task) -> Iterator[str]:
        """See `BenchmarkSolutions.describe`."""
        yield f"{solution.id}, {solution.name}"
        yield f"ticket: {solution.ticket}"
        for call in solution.gold:
            yield f"  needed  {call.function} {dict(call.arguments)}"
        for each in solution.definition.evaluation_criteria.env_assertions:
            yield f"  at the end  {each.func_name} {each.arguments} is {each.assert_value}"
