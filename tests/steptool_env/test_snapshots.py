"""Tests of snapshots, forks and pickles of `ToolEnv`."""

import json
import pickle
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.env import ToolEnv
from steptool_env.envs.toolworld import ToolWorldEnv
from steptool_env.errors import DataError
from steptool_env.vector import ToolVectorEnv
from tests.steptool_env.toys import (
    ACTIONS,
    COUNT,
    SAY,
    ToySuite,
    play,
    toy_config,
    toy_env,
)

SCRIPTS = st.lists(st.sampled_from(ACTIONS), max_size=8)


@settings(max_examples=60)
@given(before=SCRIPTS, between=SCRIPTS, after=SCRIPTS, seed=st.integers(0, 99))
def test_restore_after_snapshot_is_the_identity(
    before: list[str], between: list[str], after: list[str], seed: int
) -> None:
    env = toy_env()
    env.reset(seed=seed)
    play(env, before)
    snapshot = env.snapshot()
    expected = play(env, after), env.reset()
    env.restore(snapshot)
    play(env, between)
    env.restore(snapshot)
    assert env.snapshot() == snapshot
    assert (play(env, after), env.reset()) == expected
    other = toy_env()
    other.restore(snapshot)
    assert (play(other, after), other.reset()) == expected


class Counted(ToolEnv):
    """A subclass with arguments of its own."""

    def __init__(self, extra: str) -> None:
        super().__init__(ToySuite(), toy_config(), render_mode="ansi")
        self.extra = extra


def test_a_fork_is_of_the_same_class() -> None:
    env = Counted("kept")
    with pytest.raises(ResetNeeded):
        env.fork()
    env.reset(seed=3)
    fork = env.fork()
    assert type(fork) is Counted
    assert (fork.extra, fork.render_mode, fork.spec) == ("kept", "ansi", env.spec)
    assert fork.np_random is not env.np_random
    assert fork.episode is not env.episode
    twice = fork.fork()
    assert type(twice) is Counted
    assert twice.step(COUNT) == fork.step(COUNT) == env.step(COUNT)
    assert fork.action_space is not env.action_space


def test_a_fork_is_independent() -> None:
    env = toy_env()
    env.reset(seed=3)
    env.step(COUNT)
    fork = env.fork()
    assert fork.step(COUNT) == env.step(COUNT)
    fork.step(SAY)
    fork.close()
    assert env.step(SAY)[4]["calls_left"] == 3
    assert env.reset() == fork.reset()


@pytest.mark.parametrize("change", ["cut", "text", "other", "rules", "reward", "suite", "task", "steps"])
def test_a_damaged_or_foreign_snapshot_is_refused(change: str) -> None:
    env = toy_env()
    env.reset(seed=0)
    env.step(COUNT)
    record = json.loads(env.snapshot())
    if change == "rules":
        record["rules"]["call_budget"] = 99
    elif change == "suite":
        record["suite"]["name"] = "games"
    elif change == "reward":
        del record["reward"]
    elif change == "task":
        record["episode"]["task"] = "toy-77"
    elif change == "steps":
        del record["episode"]["steps"][0]["status"]
    snapshot = {"cut": env.snapshot()[:-9], "text": b"hello", "other": b"[]"}.get(change, json.dumps(record).encode())
    with pytest.raises(DataError, match="snapshot"):
        env.restore(snapshot)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reward": "final"}, r"reward\.kind='progress' there and 'final' here"),
        ({"reward_options": {"cost": 0.5}}, r"reward\.cost=0\.02 there and 0\.5 here"),
        ({"faults": "harsh"}, r"suite\.faults='mild' there and 'harsh' here"),
        ({"world_seed": 1}, r"suite\.world_seed=0 there and 1 here"),
        ({"level": "standard"}, r"suite\.level='lite' there and 'standard' here"),
        ({"split": "validation"}, r"suite\.name='train' there and 'validation' here"),
        ({"unsolvable": 0.5}, r"suite\.unsolvable=0\.05 there and 0\.5 here"),
        ({"depths": {"1": 1}}, r"suite\.depths=\[\] there and \[\[1, 1\.0\]\] here"),
        ({"tools": 64}, r"suite\.tools=None there and 64 here"),
        ({"call_budget": 5}, r"rules\.call_budget=12 there and 5 here"),
    ],
)
def test_a_snapshot_of_other_rewards_faults_or_tasks_is_refused(arguments: dict[str, Any], says: str) -> None:
    env = ToolWorldEnv(faults="mild")
    env.reset(seed=0)
    env.step("no call")
    snapshot = env.snapshot()
    other = ToolWorldEnv(**{"faults": "mild", **arguments})
    with pytest.raises(DataError, match=f"{says}.*same arguments"):
        other.restore(snapshot)
    vector = ToolVectorEnv(2, other.suite, other.config)
    vector.reset(seed=0)
    with pytest.raises(DataError, match=says):
        vector.restore(1, snapshot)


def test_a_snapshot_fits_equal_settings_that_are_written_differently() -> None:
    env = ToolWorldEnv(reward="steptool")
    env.reset(seed=0)
    other = ToolWorldEnv(
        render_mode="ansi", reward="steptool", reward_options={"judge": "world"}, faults="none", level="lite"
    )
    other.restore(env.snapshot())
    assert other.snapshot() == env.snapshot()


WRONG = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}) | st.just([{}])


@settings(max_examples=150)
@given(data=st.data(), wrong=WRONG)
def test_a_snapshot_with_any_field_wrong_is_refused_or_restored(data: st.DataObject, wrong: object) -> None:
    env = toy_env()
    env.reset(seed=0)
    env.step(COUNT)
    before = env.snapshot()
    record = place = json.loads(before)
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = wrong
            break
        place = place[key]
    try:
        env.restore(json.dumps(record).encode())
    except DataError:
        assert env.snapshot() == before  # a refusal changes nothing


def test_pickling_keeps_the_episode() -> None:
    env = toy_env()
    env.reset(seed=4)
    env.step(COUNT)
    twin = pickle.loads(pickle.dumps(env))
    assert [twin.step(a) for a in (COUNT, SAY)] == [env.step(a) for a in (COUNT, SAY)]
    assert twin.reset() == env.reset()
    assert pickle.loads(pickle.dumps(toy_env())).reset(seed=1) == toy_env().reset(seed=1)


def test_a_snapshot_holds_no_api_key_and_restores_with_another() -> None:
    def make(key: str) -> ToolEnv:
        options = {"judge": "llm", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key": key}
        env = gym.make("StepTool/StableToolBench-v0", reward_options=options).unwrapped
        assert isinstance(env, ToolEnv)
        return env

    one, other = make("first-secret"), make("second-secret")
    one.reset(seed=0)
    snapshot = one.snapshot()
    assert b"secret" not in snapshot
    assert "secret" not in str(one.settings)
    other.restore(snapshot)
    assert other.episode.task == one.episode.task
