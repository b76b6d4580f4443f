"""The benchmarks: environment, judge and tasks of each, found by the suite and the id of a task.

This module imports nothing else of the package, so that `import steptool_env` stays light; see docs/extending.md.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from gymnasium import register, registry

__all__ = ["BENCHMARKS", "Benchmark", "benchmark_of", "benchmark_of_env", "register_all"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: Name: that of its environment, and the first part of the names of its suites.
        env: Class of the environment, as `module:class`. `Env` in it is `VectorEnv` for the vector environment.
        solutions: Class of the tasks' solutions, a `BenchmarkSolutions`, as `module:class`.
        task_ids: Regular expression of the ids of its tasks; empty where ids do not tell the benchmark.
        judge: Default judge of the rewards that use one.
        reward: Default kind of reward.
        exact: True if its tasks have reference solutions, so that every kind of reward can be computed.
    """

    name: str
    env: str
    solutions: str
    task_ids: str = ""
    judge: str = "world"
    reward: str = "progress"
    exact: bool = True

    @property
    def env_id(self) -> str:
        """Id of the environment in Gymnasium's registry."""
        return f"StepTool/{self.name}-v0"

    @property
    def env_class(self) -> Any:
        """Class of the environment, a `ToolEnv`."""
        return _load(self.env)

    @cached_property
    def tasks(self) -> Any:
        """The `BenchmarkSolutions` of its tasks."""
        return _load(self.solutions)()


_ENVS, _ALL = "steptool_env.envs", "steptool_env"
_GROUPS = "Car-Rental|Cross|Hotels|Attraction|Flights"  # of ComplexFuncBench
BENCHMARKS = [
    Benchmark(
        "StableToolBench", f"{_ENVS}.stabletoolbench:StableToolBenchEnv", f"{_ALL}.stabletoolbench.suite:QuerySets",
        judge="rules", reward="steptool", exact=False,
    ),
    Benchmark("ToolWorld", f"{_ENVS}.toolworld:ToolWorldEnv", f"{_ALL}.toolworld.solutions:WorldSolutions", r"w\d+-.+"),
    Benchmark(
        "Tau2Telecom", f"{_ENVS}.tau2telecom:Tau2TelecomEnv", f"{_ALL}.tau2.solutions:Tau2Solutions", r"telecom-\d+"
    ),
    Benchmark("BFCL", f"{_ENVS}.bfcl:BFCLEnv", f"{_ALL}.bfcl.solutions:BfclSolutions", "multi_turn_.+"),
    Benchmark(
        "ComplexFuncBench", f"{_ENVS}.complexfuncbench:ComplexFuncBenchEnv",
        f"{_ALL}.complexfuncbench.solutions:RecordedSolutions", rf"({_GROUPS})-\d+", judge="gold",
    ),
]  # fmt: skip
"""Every benchmark; its environment is registered with Gymnasium."""


def register_all() -> None:
    """Register the environments with Gymnasium; those that are registered stay."""
    for each in BENCHMARKS:
        if each.env_id not in registry:
            vector = f"{each.env.removesuffix('Env')}VectorEnv"
            register(each.env_id, entry_point=each.env, vector_entry_point=vector)


def benchmark_of(suite: str, task_id: str) -> Benchmark:
    """Return the benchmark of a task: the one with the first part of the suite's name, else the one with such task ids.

    Sets of StableToolBench have neither, so every other task is of StableToolBench.
    """
    named = (each for each in BENCHMARKS if each.name == suite.partition("/")[0])
    known = (each for each in BENCHMARKS if each.task_ids and re.fullmatch(each.task_ids, task_id))
    return next(named, None) or next(known, BENCHMARKS[0])


def benchmark_of_env(env_id: str) -> Benchmark | None:
    """Return the benchmark of an environment; `None` for other environments."""
    return next((each for each in BENCHMARKS if each.env_id == env_id), None)


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
