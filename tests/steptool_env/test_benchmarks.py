"""The registry of benchmarks: what it says of an environment is so, and tasks are found by it."""

import json
from inspect import signature

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.benchmarks import BENCHMARKS, Benchmark, benchmark_of, benchmark_of_env
from steptool_env.env import ToolEnv
from steptool_env.errors import ConfigurationError
from steptool_env.formats import make_format
from steptool_env.rewards import REWARDS
from steptool_env.rewards.graded import start_grading
from steptool_env.types import FINISH
from toolserver.catalog.api_schema import Provenance, StatusCode

PACKAGES = {"BFCL": "bfcl", "ComplexFuncBench": "complexfuncbench_data", "Tau2Telecom": "tau2"}
"""Fixtures that skip a test without the benchmark's package."""


@pytest.fixture(params=BENCHMARKS, ids=lambda benchmark: benchmark.name)
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    if request.param.name in PACKAGES:
        request.getfixturevalue(PACKAGES[request.param.name])
    return request.param


def made(benchmark: Benchmark, **arguments: object) -> ToolEnv:
    env = gym.make(benchmark.env_id, **arguments).unwrapped
    assert isinstance(env, ToolEnv)
    assert type(env) is benchmark.env_class
    return env


def test_defaults_are_those_of_the_environment(benchmark: Benchmark) -> None:
    assert signature(benchmark.env_class).parameters["reward"].default == benchmark.reward
    for reward in ("steptool", "final"):
        assert made(benchmark, reward=reward).config.reward_settings["judge"] == benchmark.judge
    assert benchmark_of_env(benchmark.env_id) is benchmark


def test_every_task_is_found_by_its_suite_or_by_its_id(benchmark: Benchmark) -> None:
    suite = made(benchmark).suite
    for index in range(0, min(len(suite), 200), 7):
        task = suite.task(index)
        assert benchmark_of(task.suite, task.id) is benchmark
        assert benchmark_of("", task.id) is benchmark
        if benchmark.exact:
            # Not the same object: other tests of the process may have made an equal suite since.
            assert repr(benchmark.tasks.find(task.suite, task.id)) == repr(task.solution)
            assert repr(benchmark.tasks.find("", task.id)) == repr(task.solution)
            env = made(benchmark, **benchmark.tasks.env_args(task.suite, task.id))
            assert env.suite.find(task.id) == task


def test_its_oracle_solves_a_task_under_every_reward_that_it_has(benchmark: Benchmark) -> None:
    """The interface alone: no agent, no command."""
    call_format = make_format("react")
    for reward in REWARDS.names() if benchmark.exact else ():
        env = made(benchmark, reward=reward)
        _, info = env.reset(seed=1)
        oracle = benchmark.tasks.oracle(benchmark.tasks.find(info["suite"], info["task_id"]))
        over, outcome = False, {}
        while not over:
            call = oracle.next_call()
            finish = {"return_type": "give_answer", "final_answer": oracle.answer}
            name, arguments = (FINISH, finish) if call is None else (call.function, call.arguments)
            _, _, over, _, info = env.step(call_format.render(name, json.dumps(arguments)))
            if call is not None:
                answer = env.episode.steps[-1].body
                oracle.observe(
                    call,
                    info["status"] == StatusCode.OK,
                    json.loads(answer)["response"],
                    Provenance(info["provenance"]),
                )
            if "turn" in info:
                oracle.begin_turn(info["turn"])
            outcome = info.get("outcome", {})
        assert outcome["is_solved"] == 1


def test_a_task_without_a_reference_solution_is_refused_by_name() -> None:
    task = made(BENCHMARKS[0]).suite.task(0)
    with pytest.raises(ConfigurationError, match=f"{task.id}.*has no reference solution"):
        start_grading(task)
    with pytest.raises(ConfigurationError, match=r"^task 'typo': no benchmark has a reference solution"):
        benchmark_of("", "typo").tasks.find("", "typo")
