"""Every registered environment, in process and over HTTP, keeps Gymnasium's promises and gives the same episodes."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.env import ToolEnv
from steptool_env.observations import answer_in
from steptool_env.records import encode, trajectory_record
from steptool_env.vector import ToolVectorEnv
from toolserver.process import ServerProcess
from toolserver.stabletoolbench import JudgedEpisode, read_judged_run

STABLETOOLBENCH = "StepTool/StableToolBench-v0"


@pytest.fixture(scope="module")
def stabletoolbench(stabletoolbench_data: Path, stabletoolbench_cache: Path) -> dict[str, Any]:
    """Arguments for `gym.make`, with the recordings that the test session imported."""
    queries = stabletoolbench_data / "solvable_queries" / "test_instruction"
    return {"queries": str(queries), "cache": str(stabletoolbench_cache), "suite": "G1_instruction"}


@pytest.fixture(scope="module")
def servers(stabletoolbench_cache: Path) -> Iterator[Callable[[int], str]]:
    """Gives the address of a server with so many workers; each is started once."""
    with ExitStack() as stack:
        running: dict[int, str] = {}

        def serve(workers: int) -> str:
            if workers not in running:
                arguments = ["--cache", str(stabletoolbench_cache), "--read-only", "--workers", str(workers)]
                running[workers] = stack.enter_context(ServerProcess(arguments)).url
            return running[workers]

        yield serve


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
def test_gymnasiums_checker_finds_nothing(
    remote: bool, stabletoolbench: dict[str, Any], servers: Callable[[int], str]
) -> None:
    arguments = {**stabletoolbench, "server_url": servers(1) if remote else None}
    env = gym.make(STABLETOOLBENCH, **arguments)
    check_env(env.unwrapped)
    env.close()


def judged(data: Path, name: str = "G1_instruction") -> list[JudgedEpisode]:
    return read_judged_run(data / "judged_runs" / "steptool_cot" / f"{name}.json")


def replay(env: ToolEnv, episodes: Sequence[JudgedEpisode]) -> list[bytes]:
    """The trajectories of recorded episodes, played again."""
    played = []
    for episode in episodes:
        env.reset(options={"task": episode.query_id, "episode_seed": 1})
        for step in episode.steps:
            *_, info = env.step(env.rules.format.render(step.name, step.arguments))
            if "trajectory" in info:
                played.append(encode(trajectory_record(info["trajectory"])))
                break
    return played


@pytest.mark.parametrize("workers", [1, 4])
def test_a_judged_run_replays_to_the_same_bytes_over_http(
    workers: int, stabletoolbench: dict[str, Any], stabletoolbench_data: Path, servers: Callable[[int], str]
) -> None:
    episodes = judged(stabletoolbench_data)
    arguments = {**stabletoolbench, "call_budget": 17}
    local = gym.make(STABLETOOLBENCH, **arguments).unwrapped
    remote = gym.make(STABLETOOLBENCH, **arguments, server_url=servers(workers)).unwrapped
    assert isinstance(local, ToolEnv)
    assert isinstance(remote, ToolEnv)
    expected = replay(local, episodes)
    assert len(expected) > 0.9 * len(episodes)
    assert replay(remote, episodes) == expected
    remote.close()


def test_a_replay_answers_with_what_was_published(stabletoolbench: dict[str, Any], stabletoolbench_data: Path) -> None:
    """Every recorded answer is one that some published run shows for the same call (their answers differ)."""
    published = published_answers(stabletoolbench_data)
    env = gym.make(STABLETOOLBENCH, **stabletoolbench, call_budget=17).unwrapped
    assert isinstance(env, ToolEnv)
    recorded = 0
    for episode in judged(stabletoolbench_data):
        env.reset(options={"task": episode.query_id})
        for step in episode.steps:
            observation, *_, info = env.step(env.rules.format.render(step.name, step.arguments))
            if info["provenance"] == "recorded":
                recorded += 1
                assert beginning(answer_in(observation)) in published[step.name, canonical(step.arguments)]
            if "trajectory" in info:
                break
    assert recorded > 300


def beginning(answer: str) -> str:
    """The first letters and digits; answers that were cut when they were published have lost some escapes."""
    return re.sub(r"\W", "", answer)[:30]


def canonical(arguments: str) -> str:
    return json.dumps(json.loads(arguments or "{}"), sort_keys=True)


def published_answers(data: Path) -> dict[tuple[str, str], set[str]]:
    """The beginnings of all published answers, by function and arguments."""
    answers: dict[tuple[str, str], set[str]] = {}
    for path in (data / "judged_runs").rglob("*.json"):
        for episode in read_judged_run(path):
            for step in episode.steps:
                with suppress(ValueError):
                    answers.setdefault((step.name, canonical(step.arguments)), set()).add(beginning(step.response))
    return answers


def test_the_vector_environment_equals_single_ones_over_http(
    stabletoolbench: dict[str, Any], servers: Callable[[int], str]
) -> None:
    url = servers(1)
    vector = gym.make_vec(STABLETOOLBENCH, num_envs=4, autoreset_mode="SameStep", **stabletoolbench, server_url=url)
    assert isinstance(vector, ToolVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    single = [gym.make(STABLETOOLBENCH, **stabletoolbench) for _ in range(4)]
    observations, infos = vector.reset(seed=11)
    assert list(observations) == [env.reset(seed=11 + index)[0] for index, env in enumerate(single)]
    for _ in range(3):
        actions = [f"Action: {functions[0]['name']}\nAction Input: {{}}" for functions in infos["functions"]]
        observations, rewards, *_ = vector.step(actions)
        steps = [env.step(action) for env, action in zip(single, actions, strict=True)]
        assert list(observations) == [step[0] for step in steps]
        assert rewards.tolist() == [step[1] for step in steps]
    vector.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments_take_it_too(mode: str, stabletoolbench: dict[str, Any]) -> None:
    make = partial(gym.make, STABLETOOLBENCH, **stabletoolbench)
    envs = SyncVectorEnv([make] * 2) if mode == "sync" else AsyncVectorEnv([make] * 2, shared_memory=False)
    observations, infos = envs.reset(seed=3)
    assert len(observations) == 2
    assert infos["_task_id"].all()
    _, rewards, terminated, truncated, _ = envs.step(("no call", "Action: Finish\nAction Input: {}"))
    assert np.array_equal(terminated | truncated, [False, False])
    assert rewards.shape == (2,)
    envs.close()


def test_environments_are_made_again_from_their_spec_and_from_pickle(stabletoolbench: dict[str, Any]) -> None:
    env = gym.make(STABLETOOLBENCH, **stabletoolbench, call_budget=3)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.reset(seed=5) == env.reset(seed=5)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step("no call") == env.step("no call")


def test_the_key_of_a_server_is_not_in_the_spec(
    stabletoolbench: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPTOOL_API_KEY", "a-secret-of-this-test")
    env = gym.make(STABLETOOLBENCH, **stabletoolbench, server_url="http://127.0.0.1:9")
    assert env.spec is not None
    assert "a-secret" not in env.spec.to_json() + repr(env) + repr(vars(env.unwrapped))
    assert b"a-secret" not in pickle.dumps(env)
    env.close()
