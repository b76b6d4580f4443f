"""ComplexFuncBench as it is installed: splits, ceiling, floors, credit, files."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from agents.baselines.demonstrations import Noise, demonstrate
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.complexfuncbench.benchmark import CompiledBenchmark, call_key, load_benchmark
from steptool_env.complexfuncbench.solutions import RecordedSolutions
from steptool_env.complexfuncbench.splits import SPLITS, select, split_of
from steptool_env.complexfuncbench.suite import load_suite
from steptool_env.types import Step, Trajectory

ENV = "StepTool/ComplexFuncBench-v0"


@pytest.fixture(scope="module")
def benchmark(complexfuncbench_data: Path) -> CompiledBenchmark:
    return load_benchmark(complexfuncbench_data)


def play(agent: str, split: str = "all", episodes: int | None = None, **settings: object) -> list[Trajectory]:
    return evaluate(Evaluation(ENV, {"split": split, **settings}, episodes), make_agent(agent))


def outcomes(played: list[Trajectory], name: str) -> float:
    return sum(each.metadata["outcome"][name] for each in played) / len(played)


def test_the_splits_are_disjoint_and_make_up_the_benchmark(benchmark: CompiledBenchmark) -> None:
    parts = {split: {task.id for task in select(benchmark.tasks.values(), split, "")} for split in SPLITS}
    whole = parts.pop("all")
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 560,
        "validation": 80,
        "test": 160,
        "test-patterns": 200,
    }
    assert set().union(*parts.values()) == whole
    assert len(whole) == 1000
    assert not [pair for pair in combinations(parts.values(), 2) if pair[0] & pair[1]]


def test_patterns_of_test_patterns_are_in_no_other_split(benchmark: CompiledBenchmark) -> None:
    patterns: dict[str, set[str]] = {}
    for task in benchmark.tasks.values():
        patterns.setdefault(split_of(task.id), set()).add(task.pattern)
    assert not patterns["test-patterns"] & (patterns["train"] | patterns["validation"] | patterns["test"])
    assert patterns["test"] == patterns["train"]


def test_groups_partition_a_split(benchmark: CompiledBenchmark) -> None:
    sizes = Counter(task.group for task in benchmark.tasks.values())
    assert sizes == {"Car-Rental": 150, "Cross": 400, "Hotels": 150, "Attraction": 150, "Flights": 150}
    for group in sizes:
        suite = load_suite("test", group)
        assert {suite.task(index).suite for index in range(len(suite))} == {f"ComplexFuncBench/test/{group}"}


def test_the_oracle_solves_every_task_and_all_its_calls_contribute(benchmark: CompiledBenchmark) -> None:
    played = play("oracle", reward="steptool")
    assert outcomes(played, "is_complete") == 1
    assert all(set(each.rewards) == {1.0} for each in played)
    assert sum(len(each.steps) - 1 for each in played) == 5070
    assert max(len(step.observation) for each in played for step in each.steps) < 200_000
    assert not [step for each in played for step in each.steps if "characters cut" in step.observation]


def test_the_return_of_a_perfect_episode_is_one_and_mistakes_never_raise_it(benchmark: CompiledBenchmark) -> None:
    noise = Noise(wrong_tool=0.1, wrong_argument=0.1, repetition=0.1, early_finish=0.02)
    played = demonstrate(Evaluation(ENV, {"split": "test"}), noise, seed=3)
    for each in played:
        assert sum(each.rewards) <= 1 + 1e-9
        assert (sum(each.rewards) > 0.7) == (each.metadata["outcome"]["is_solved"] == 1)
    assert 0.3 < outcomes(played, "is_solved") < 1


def test_a_contributing_call_passes_a_value_on_or_ends_a_chain(benchmark: CompiledBenchmark) -> None:
    """In noisy episodes, by the texts of answers and of later arguments instead of the compiled data flow."""
    noise = Noise(wrong_tool=0.1, repetition=0.2, wrong_argument=0.1)
    played = demonstrate(Evaluation(ENV, {"split": "test", "reward": "steptool"}, slots=4), noise, seed=1)
    passed_on = needless = 0
    for each in played:
        task = RecordedSolutions().solution_of(each.task)
        gold = {call.key: index for index, call in enumerate(task.calls)}
        steps = [step for step in each.steps if step.reward_terms.get("contribution")]
        needless += len(each.steps) - 1 - len(steps)
        for place, step in enumerate(steps):
            assert step.reward_terms["succ_calling"] == 1
            index = gold[call_key(benchmark.apis[step.action.name], json.loads(step.action.arguments))]
            if index not in task.leaves:
                passed_on += 1
                assert any(value in step.body for later in steps[place + 1 :] for value in texts(later))
        if each.metadata["outcome"]["is_complete"]:
            assert len(steps) == len(task.calls)
    assert passed_on > 300
    assert needless > 100


def texts(step: Step) -> list[str]:
    """The texts and numbers in the arguments of a call, without the shortest ones."""
    found = re.findall(r'[^\\\s\[\]{},:"]{3,}', step.action.arguments)
    return [*found, *map(str, json.loads(step.action.arguments).values())]


def test_all_apis_may_be_offered(benchmark: CompiledBenchmark) -> None:
    (played, *_) = play("oracle", "test", 3, offered="all")
    assert len(played.task.tools) == 40
    assert played.metadata["outcome"]["is_solved"] == 1


_DIGEST = """
from hashlib import blake2b
from agents.baselines.demonstrations import Noise, demonstrate
from agents.evaluation.evaluate import Evaluation
from steptool_env.episodes.records import encode, trajectory_record
played = demonstrate(Evaluation("StepTool/ComplexFuncBench-v0", {"split": "validation"}), Noise.evenly(0.3), 5)
print(blake2b(b"".join(encode(trajectory_record(each)) for each in played)).hexdigest())
"""


def test_two_processes_make_the_same_bytes_from_two_imports(benchmark: CompiledBenchmark, tmp_path: Path) -> None:
    digests = set()
    homes = (os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")), str(tmp_path))
    for seed, home in enumerate(homes):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "XDG_CACHE_HOME": home}
        run = subprocess.run(
            [sys.executable, "-c", _DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout)
    assert len(digests) == 1
