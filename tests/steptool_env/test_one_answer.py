"""A step in process: the world answers once, arguments are parsed once, and no token is written or read."""

import json
from collections import Counter
from typing import Any

import gymnasium as gym
import pytest

from agents.baselines.oracle import OracleAgent
from benchmarks.harness.episodes import record
from steptool_env.formats import base
from toolserver.episodes.state_token import StateCodec
from toolserver.world.vendors import VendorApi

ENV = "StepTool/ToolWorld-v0"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of calls of each function."""
    counted: Counter[str] = Counter()
    for place, name in ((VendorApi, "answer"), (StateCodec, "read"), (StateCodec, "write"), (base, "parse")):
        function = getattr(place, name)

        def count(*arguments: Any, _function: Any = function, _name: str = name) -> Any:
            counted[_name] += 1
            return _function(*arguments)

        monkeypatch.setattr(place, name, count)
    return counted


def test_a_step_answers_once_and_parses_once(counts: Counter[str]) -> None:
    (script,) = record(ENV, {}, OracleAgent(), 1)
    env = gym.make(ENV)
    env.reset(options={"task": script.task, "episode_seed": script.seed})
    counts.clear()
    for action in script.actions:
        env.step(action)
    calls = len(script.actions) - 1  # all but `Finish`
    assert calls > 0
    assert counts == {"answer": calls, "parse": calls + 1, "read": 1}  # the first call decodes the opening token


def test_a_snapshot_holds_a_signed_token() -> None:
    (script,) = record(ENV, {}, OracleAgent(), 1)
    env: Any = gym.make(ENV).unwrapped
    env.reset(options={"task": script.task, "episode_seed": script.seed})
    env.step(script.actions[0])
    state = json.loads(env.snapshot())["episode"]["state"]
    assert state.startswith("st1.")
    env.restore(env.snapshot())
    assert json.loads(env.snapshot())["episode"]["state"] == state
    for action in script.actions[1:]:
        *_, info = env.step(action)
    assert info["outcome"]["is_solved"] == 1.0
