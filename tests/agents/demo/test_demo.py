"""The demonstration, for real: a server in a process of its own, agents over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from agents.demo.arms import ARMS, demo_config, starting_point, task_arguments, train_arms
from agents.errors import TrainingError
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of
from agents.models import checkpoint
from agents.reporting.training_progress import TrainingProgress
from agents.rollout.config import Sampling
from agents.rollout.policy_agent import PolicyAgent
from agents.training.config import TrainConfig, checked
from agents.training.settings import Algorithm
from agents.training.sft import make_demonstrations, run_sft
from agents.training.sft_config import SFTRunConfig
from toolserver.testing import ServerProcess


def test_the_demo_compares_agents_over_http_and_ends_its_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["demo", "--learner", "none", "--episodes", "12", "--out", str(tmp_path / "demo")])
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert result["oracle"]["pass_rate"] == 1.0
    assert result["no-tools"]["pass_rate"] == result["random"]["pass_rate"] == 0.0
    assert result["oracle"]["transport_errors"] == 0
    out = capsys.readouterr().out
    (panel,) = {figures["panel"] for figures in result.values() if isinstance(figures, dict) and "panel" in figures}
    assert panel in out
    assert "tool server ended" in out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert all(f"{name}, " in page for name in FLOORS)


FLOORS = ("random", "no-tools", "greedy-docs", "oracle")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starting policy as in the demonstration, but of few demonstrations."""
    out = tmp_path_factory.mktemp("start")
    config = checked(SFTRunConfig, {"episodes": 24, "env_args": TASKS, "sft": {"epochs": 1, "batch_episodes": 8}})
    run_sft(config, make_demonstrations(config), out)
    return out


def small(algo: Algorithm, start: Path, out: Path, **tools: Any) -> TrainConfig:
    """An arm of the demonstration with short actions and a handful of episodes."""
    config = demo_config(algo, start, out, tools, calls=20)
    env = replace(config.env, num_envs=8, args={**config.env.args, "call_budget": 2})
    return replace(config, env=env, episodes=8, eval_episodes=4, sampling=Sampling(max_action_tokens=6))


def test_training_over_http_starts_both_arms_alike_and_stops_at_the_same_calls(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[tuple[str, int]] = []
    monkeypatch.setattr(TrainingProgress, "report_rollout", lambda _, name, done, *__: reported.append((name, done)))
    with ServerProcess(["--world", "0"], settings={"world_tools": 14}) as server:
        tools = {"world_seed": 0, "server_url": server.url}
        arms = train_arms({algo: small(algo, start, tmp_path / algo, **tools) for algo in ARMS})
    curves = {algo: arm.curve for algo, arm in arms.items()}
    for algo in ARMS:
        assert 20 <= arms[algo].calls < 20 + 2 * 8
        assert [record["calls"] for record in curves[algo]] == [0, 16, 32]
        # Each record is shown once: a count that falls back would give a wrong rate and time left.
        assert [done for name, done in reported if name == algo] == [0, 16, 32]
    for name in ("eval/is_solved", "eval/calls", "eval/invalid_calls"):
        assert curves["steptool"][0][name] == curves["final"][0][name]


def test_an_arm_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    missing = small("steptool", tmp_path / "nowhere", tmp_path / "arm", world_seed=0)
    with pytest.raises(TrainingError, match=r"(?s)arm ended with status \d+: .*nowhere"):
        train_arms({"steptool": missing})


def test_a_start_from_scratch_takes_its_lessons_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons = []
    for number in (1, 2):
        lessons.append(tmp_path / f"{number}.yaml")
        settings = {"episodes": 16, "env_args": TASKS, "vocab_size": 600, "seed": number, "sft": {"epochs": 1}}
        lessons[-1].write_text(json.dumps(settings))  # JSON is YAML
    monkeypatch.setattr("agents.demo.arms._STAGES", tuple(lessons))
    learnt = starting_point(tmp_path / "sft", from_scratch=True)
    assert learnt == tmp_path / "sft" / "stage-2"
    settings = checkpoint.load_config(learnt)
    assert settings["policy"]["checkpoint"] == str(tmp_path / "sft" / "stage-1")
    assert checkpoint.load_digest(learnt) != checkpoint.load_digest(tmp_path / "sft" / "stage-1")


@pytest.mark.slow
def test_the_shipped_start_is_small_and_solves_some_held_out_tasks_but_leaves_room(tmp_path: Path) -> None:
    start = starting_point(tmp_path, from_scratch=False)
    assert sum(path.stat().st_size for path in start.rglob("*") if path.is_file()) < 8 * 2**20
    tasks = {**task_arguments(), "split": "G1_instruction"}
    played = evaluate(
        Evaluation("StepTool/ToolWorld-v0", tasks, episodes=200, slots=50),
        PolicyAgent(str(start), temperature=1.0, max_action_tokens=64),
    )
    assert 0.2 <= metrics_of(played)["pass_rate"] <= 0.45


TASKS = {"split": "train", "level": "lite", "depths": {"1": 1.0}, "unsolvable": 0.0, "tools": 14}
