"""The demonstration, for real: a server in a process of its own, agents over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents.apprentice import Apprentice
from agents.cli import main
from agents.config import checked
from agents.demo_training import ARMS, demo_config, train_arm
from agents.generation import Sampling
from toolserver.process import ServerProcess


def test_the_demo_compares_agents_over_http_and_ends_its_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["demo", "--learner", "none", "--episodes", "12", "--out", str(tmp_path / "demo")])
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert result["oracle"]["pass_rate"] == 1.0
    assert result["no-tools"]["pass_rate"] == result["random"]["pass_rate"] == 0.0
    assert result["oracle"]["transport_errors"] == 0
    out = capsys.readouterr().out
    assert "tool server ended" in out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert all(f"{name}, " in page for name in FLOORS)


def test_the_demo_trains_two_policies_of_the_numeric_twin_from_one_start(tmp_path: Path) -> None:
    main(["demo", "--calls", "1", "--episodes", "12", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["training_calls"] == {"steptool": 2048, "final": 2048}  # one rollout each: calls come in whole ones
    assert {"untrained", "steptool", "final", *FLOORS} <= set(result)
    assert result["untrained"]["pass_rate"] < result["oracle"]["pass_rate"] == 1.0
    assert "Learning: held-out tasks" in (tmp_path / "report.html").read_text()


FLOORS = ("random", "no-tools", "greedy-docs", "oracle")


def test_training_over_http_starts_both_arms_alike_and_stops_at_the_same_calls(tmp_path: Path) -> None:
    """Everything as in the demonstration but small: few demonstrations, short actions, a handful of episodes."""
    shrunk = {"episodes": 24, "env_args": TASKS, "sft": {"epochs": 1, "batch_episodes": 8}}
    apprentice = checked(Apprentice, shrunk)
    apprentice.learn(apprentice.demonstrations(), tmp_path / "start")
    curves = {}
    with ServerProcess(["--world", "0"], settings={"world_tools": 14}) as server:
        tools = {"world_seed": 0, "server_url": server.url}
        for algo in ARMS:
            config = demo_config(algo, tmp_path / "start", tmp_path / algo, tools, calls=20)
            env = replace(config.env, num_envs=8, args={**config.env.args, "call_budget": 2})
            small = replace(config, env=env, episodes=8, eval_episodes=4, sampling=Sampling(max_action_tokens=6))
            arm = train_arm(small)
            assert 20 <= arm.calls < 20 + 2 * 8
            assert [record["calls"] for record in arm.curve] == [0, 16, 32]
            curves[algo] = arm.curve
    for name in ("eval/is_solved", "eval/calls", "eval/tokens"):
        assert curves["steptool"][0][name] == curves["final"][0][name]
    assert not (tmp_path / "steptool" / "checkpoint-1").exists()


TASKS = {"split": "train", "level": "lite", "depths": {"1": 1.0}, "unsolvable": 0.0, "tools": 14}
