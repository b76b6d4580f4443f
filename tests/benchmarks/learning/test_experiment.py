"""The learning experiment with a policy that knows nothing: runs that are broken off, gone on with, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.baselines.demonstrations import demonstrate
from agents.errors import ConfigurationError
from agents.evaluation.evaluate import Evaluation
from agents.models import checkpoint
from agents.models.config import PolicyConfig
from agents.models.decoder import Shape, build_decoder
from agents.models.policy import Policy
from agents.training.config import CRITIC_ESTIMATORS
from agents.training.sft import build_sft_policy
from benchmarks.harness.report import origin
from benchmarks.learning.arms import ARMS, arm_config
from benchmarks.learning.experiment import Options, planned, run
from benchmarks.learning.training_run import Plan, play, read_result

TASKS = {"split": "train", "level": "lite", "call_budget": 2, "unsolvable": 0.0}
SHARED = {
    "episodes": 8,
    "eval_episodes": 2,
    "policy": {"context": 640},
    "env": {"num_envs": 8, "args": TASKS},
    "algorithm": {"epochs": 1, "mini_batches": 3},
    "sampling": {"max_action_tokens": 2},
}
CALLS = 64  # of 8 episodes with 2 calls: 4 iterations, evaluated after the second and the last


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "policy"
    shown = demonstrate(Evaluation("StepTool/ToolWorld-v0", TASKS, episodes=40))
    tokenizer = build_sft_policy(shown, PolicyConfig(critic="none", context=640), vocab_size=800).tokenizer
    model = build_decoder(Shape(hidden=64, layers=2, heads=2, kv_heads=1, mlp=32), tokenizer, 640)
    checkpoint.save(folder, Policy(model, "none"), tokenizer)
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shared") / "learning.yaml"
    path.write_text(json.dumps(SHARED))  # JSON is YAML
    return path


def options(start: Path, shared: Path, runs: Path, **changes: Any) -> Options:
    some: dict[str, Any] = {"arms": ("final", "grpo"), "seeds": 2, "calls": CALLS, "points": 2}
    return Options(policy=start, config=shared, runs=runs, **{**some, **changes})


def curve(folder: Path) -> list[dict[str, float]]:
    """What a run measured, without times."""
    found = read_result(folder)
    assert found is not None
    return [{k: v for k, v in record.items() if not k.startswith("time/")} for record in found["curve"]]


def broken_off(plan: Plan, at: int) -> None:
    """Play a run and break it off when it has made so many calls."""

    def on_progress(calls: int, passed: float | None) -> None:
        if calls >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(plan.folder, on_progress)


def test_an_interrupted_experiment_goes_on_to_the_numbers_of_an_unbroken_one(
    start: Path, shared: Path, tmp_path: Path
) -> None:
    whole = options(start, shared, tmp_path / "whole")
    result = run(whole)
    broken = options(start, shared, tmp_path / "broken")
    plans = planned(broken, origin())
    for plan in plans:
        plan.write()
    play(plans[1].folder, lambda calls, passed: None)
    broken_off(plans[2], at=48)
    assert checkpoint.newest(plans[2].folder) == plans[2].folder / "checkpoint-2"
    finished = (plans[1].folder / "result.json").stat()
    assert run(broken).tables["Curves, pass rate %"] == result.tables["Curves, pass rate %"]
    assert (plans[1].folder / "result.json").stat().st_mtime_ns == finished.st_mtime_ns
    for plan in plans:
        assert curve(plan.folder) == curve(tmp_path / "whole" / plan.folder.name)
        assert not list(plan.folder.glob("checkpoint-*"))
    assert [row["calls"] for row in result.tables["Runs"]] == [CALLS] * 4
    kept = read_result(plans[2].folder)
    assert kept is not None
    assert kept["origin"]["command"]
    assert kept["origin"]["commit"]
    assert kept["config"]["algo"] == "grpo"


def test_runs_of_other_settings_are_not_mixed(start: Path, shared: Path, tmp_path: Path) -> None:
    for plan in planned(options(start, shared, tmp_path), origin()):
        plan.write()
    with pytest.raises(ConfigurationError, match=r"start holds a run of other settings \(config.calls: 64, not 65\)"):
        run(options(start, shared, tmp_path, calls=65))


def test_a_run_that_fails_is_named(start: Path, shared: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "policy"
    damaged.mkdir()
    for path in start.rglob("*"):
        if path.is_file():
            target = damaged / path.relative_to(start)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes()[:-1] if path.name == "model.safetensors" else path.read_bytes())
    with pytest.raises(SystemExit, match=r"final-0: .*is damaged"):
        run(options(damaged, shared, tmp_path / "runs", arms=("final",), seeds=1))


@pytest.mark.slow
def test_processes_side_by_side_measure_what_one_does(start: Path, shared: Path, tmp_path: Path) -> None:
    results = [run(options(start, shared, tmp_path / str(jobs), seeds=1, jobs=jobs)) for jobs in (1, 2)]
    assert results[0].tables["Curves, pass rate %"] == results[1].tables["Curves, pass rate %"]


@pytest.mark.parametrize("arm", ARMS)
def test_arms_differ_in_nothing_but_what_they_are(arm: str, start: Path, shared: Path, tmp_path: Path) -> None:
    config = arm_config(arm, 3, shared, start, 500, tmp_path)
    assert config.env.reward == ARMS[arm].reward
    assert (config.policy.critic == "none") == (config.algorithm.advantage not in CRITIC_ESTIMATORS)
    assert config.algorithm.mini_batches == (1 if arm == "reinforce" else 3)
    assert (config.seed, config.calls, config.env.args, config.optim) == (
        3, 500, TASKS, arm_config("final", 0, shared, start, 1, tmp_path).optim,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"arms": ("ppo",)}, "--arms ppo: no such arm; there are steptool"), ({"seeds": 0}, "must be at least 1")],
)
def test_wrong_options_say_what_is_right(start: Path, shared: Path, tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        run(options(start, shared, tmp_path, **changes))
