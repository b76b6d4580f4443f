"""Interface of a benchmark's tasks: their solutions, and what grades, solves, draws and finds them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from steptool_env.benchmarks.oracle import Oracle
from steptool_env.benchmarks.plan_graph import PlanGraph
from steptool_env.errors import ConfigurationError
from steptool_env.grading import CallsGrading, EpisodeGrading
from steptool_env.types import Step, Task

S = TypeVar("S")
_NO_SOLUTIONS = "the benchmark has no reference solutions"


class BenchmarkSolutions(ABC, Generic[S]):
    """Reference solutions of a benchmark's tasks, of type S. `Benchmark.tasks` makes it without arguments.

    A benchmark without reference solutions overrides `env_args` alone; what needs a solution then raises
    `ConfigurationError`. One with them overrides all but `plan` and `reached`, which belong together; where they are
    read from a package, `PackagedSolutions` finds them.
    """

    shown: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of the environment in which `steptool tasks show` plays the oracle."""

    def find(self, suite: str, task_id: str) -> S:
        """Return the solution of a task. Raises `ConfigurationError` for an unknown one, or where data is missing."""
        owner = f"{suite} has no" if suite else "no benchmark has a"
        raise ConfigurationError(
            f"task {task_id!r}: {owner} reference solution for such an id; those of ToolWorld look like "
            "w0-lite-train-17"
        )

    @abstractmethod
    def env_args(self, suite: str, task_id: str) -> dict[str, Any]:
        """Return the arguments with which the environment has the task."""

    def oracle(self, solution: S) -> Oracle:  # noqa: ARG002 - the interface
        """Return the solver of one episode."""
        raise ConfigurationError(_NO_SOLUTIONS)

    def grading(self, task: Task) -> EpisodeGrading:
        """Return the grading of one episode. Raises `ConfigurationError` as `find` does."""
        self.find(task.suite, task.id)
        raise ConfigurationError(_NO_SOLUTIONS)

    def describe(self, solution: S) -> Iterator[str]:  # noqa: ARG002 - the interface
        """Yield lines on the task: id, query, functions."""
        raise ConfigurationError(_NO_SOLUTIONS)

    def plan(self, solution: S) -> PlanGraph | None:  # noqa: ARG002 - the interface
        """Return the reference solution as a graph; `None` where it is not drawn."""
        return None

    def reached(self, task: Task, steps: Sequence[Step]) -> Mapping[str, int]:  # noqa: ARG002 - the interface
        """Return the index of the step that first made each call of the plan, by the call's name in it."""
        return {}


class PackagedSolutions(BenchmarkSolutions[S]):
    """Reference solutions that are read from an installed package, and are lists of calls.

    Attributes:
        name: Name of the benchmark, the first part of the names of its suites.
        solution_type: Class of the solutions.
        every_group: Argument of the environment that offers the tasks of all groups of a split.
    """

    name: ClassVar[str]
    solution_type: ClassVar[type]
    every_group: ClassVar[Mapping[str, str]]

    @abstractmethod
    def load(self) -> Mapping[str, S]:
        """Return all solutions by the ids of their tasks. Raises `ConfigurationError` where the data is missing."""

    def find(self, suite: str, task_id: str) -> S:
        """See `BenchmarkSolutions.find`."""
        suite = suite or self.name
        if suite.partition("/")[0] != self.name or task_id not in self.load():
            raise ConfigurationError(f"task {task_id!r} of {suite!r}: not a task of {self.name}")
        return self.load()[task_id]

    def solution_of(self, task: Task) -> S:
        """Return the solution of a task; that of a task from a file, which has none, is found by its id."""
        known: bool = isinstance(task.solution, self.solution_type)
        solution: S = task.solution if known else self.find(task.suite, task.id)
        return solution

    def env_args(self, suite: str, task_id: str) -> dict[str, Any]:
        """See `BenchmarkSolutions.env_args`. Raises `ConfigurationError` as `find` does."""
        self.find(suite, task_id)
        return {"split": suite.partition("/")[2].partition("/")[0] or "all", **self.every_group}

    @abstractmethod
    def grading(self, task: Task) -> CallsGrading:
        """See `BenchmarkSolutions.grading`."""

    def reached(self, task: Task, steps: Sequence[Step]) -> dict[str, int]:
        """See `BenchmarkSolutions.reached`."""
        grading = self.grading(task)
        for step in steps:
            grading.observe(step)
        return {f"call{index}": step for index, step in grading.reached.items()}
