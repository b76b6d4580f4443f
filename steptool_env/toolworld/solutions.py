"""ToolWorld's tasks for the registry of benchmarks."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from steptool_env.benchmarks.plan_graph import PlanGraph
from steptool_env.benchmarks.solutions import BenchmarkSolutions
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import Oracle, WorldTask, read_task_id
from steptool_env.toolworld.grading.episode_grading import ToolWorldGrading
from steptool_env.toolworld.grading.oracle import describes_obstacle
from steptool_env.toolworld.plan_graph import plan_graph
from steptool_env.toolworld.suite import find_world_task
from steptool_env.types import Step, Task


class WorldSolutions(BenchmarkSolutions[WorldTask]):
    """Tasks of ToolWorld."""

    shown: ClassVar = {"call_budget": 30}  # more than any gold solution needs

    def find(self, suite: str, task_id: str) -> WorldTask:  # noqa: ARG002 - ids are unique among all suites
        """See `BenchmarkSolutions.find`."""
        return find_world_task(task_id)

    def env_args(self, suite: str, task_id: str) -> dict[str, Any]:  # noqa: ARG002
        """See `BenchmarkSolutions.env_args`."""
        seed, level, split, _ = read_task_id(task_id)
        # After a dot comes a digest of settings that no id can hold: without the run's, no such task is found.
        return {"world_seed": seed, "level": level, "split": split.partition(".")[0]}

    def oracle(self, solution: WorldTask) -> Oracle:
        """See `BenchmarkSolutions.oracle`."""
        return Oracle(solution)

    def grading(self, task: Task) -> ToolWorldGrading:
        """See `BenchmarkSolutions.grading`."""
        return ToolWorldGrading(task)

    def describe(self, solution: WorldTask) -> Iterator[str]:
        """See `BenchmarkSolutions.describe`."""
        yield f"{solution.id}, depth {solution.plan.depth}: {solution.query}"
        if not solution.solvable:
            yield f"cannot be solved: {describes_obstacle(solution)}"
        needed = {api.spec.function_name for api in solution.needed}
        for api in solution.toolset.apis:
            mark = "needed" if api.spec.function_name in needed else "      "
            yield f"  {mark}  {api.spec.function_name}: {api.spec.description}"

    def plan(self, solution: WorldTask) -> PlanGraph:
        """See `BenchmarkSolutions.plan`."""
        return plan_graph(solution)

    def reached(self, task: Task, steps: Sequence[Step]) -> dict[str, int]:
        """See `BenchmarkSolutions.reached`."""
        try:
            grading = ToolWorldGrading(task)
        except ConfigurationError:  # an initial state of another kind: nothing can be graded
            return {}
        for step in steps:
            grading.observe(step)
        tracker, found = grading.tracker, {}
        for index, place in tracker.reached.items():
            milestone = tracker.milestones[index]
            name = f"login{milestone.api.vendor.index}" if milestone.node < 0 else f"call{milestone.node}"
            found[name] = place
        return found
