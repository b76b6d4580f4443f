"""The learning experiment with an untrained policy: runs that are interrupted, resumed, and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.errors import ConfigurationError
from agents.evaluation.panels import SAMPLED, Panel, key
from agents.models import checkpoint
from benchmarks.harness.report import origin
from benchmarks.learning.arms import ARMS, arm_config
from benchmarks.learning.experiment import Options, planned, run
from benchmarks.learning.training_run import POLICY, Plan, play, read_plan, read_result
from tests.benchmarks.learning.tiny import CALLS, TASKS


def options(start: Path, shared: Path, runs: Path, **changes: Any) -> Options:
    some: dict[str, Any] = {"arms": ("final", "grpo_final"), "seeds": 2, "calls": CALLS, "points": 2}
    some |= {"depth": 1, "episodes": 2, "end_episodes": 1, "end_splits": ("depth-1", "G1_instruction")}
    return Options(policy=start, config=shared, runs=runs, **{**some, **changes})


def curve(folder: Path) -> list[dict[str, float]]:
    """Return the evaluations of a run, without times."""
    found = read_result(folder)
    assert found is not None
    records = [*found["curve"], found["last"]]
    return [{k: v for k, v in record.items() if not k.startswith("time/")} for record in records]


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
    whole = options(start, shared, tmp_path / "whole", seeds=1)
    result = run(whole)
    broken = options(start, shared, tmp_path / "broken", seeds=1)
    plans = planned(broken, origin())
    for plan in plans:
        plan.write()
        assert read_plan(plan.folder) == plan
    play(plans[1].folder, lambda calls, passed: None)
    broken_off(plans[2], at=48)
    assert checkpoint.newest(plans[2].folder) == plans[2].folder / "checkpoint-2"
    finished = (plans[1].folder / "result.json").stat()
    again = run(replace(broken, name="again"))
    assert (result.name, again.name) == ("learning_depth_1", "again")
    (curves,) = (rows for heading, rows in result.tables.items() if heading.startswith("Curves"))
    assert curves in again.tables.values()
    assert (plans[1].folder / "result.json").stat().st_mtime_ns == finished.st_mtime_ns
    for plan in plans:
        assert curve(plan.folder) == curve(tmp_path / "whole" / "depth-1" / plan.folder.name)
        assert not list(plan.folder.glob("checkpoint-*"))
    assert [row["calls"] for row in result.tables["Runs"]] == [CALLS] * 2
    kept = read_result(plans[2].folder)
    assert kept is not None
    assert kept["origin"]["command"]
    assert kept["origin"]["commit"]
    assert kept["config"]["algo"] == "grpo"
    policies = [tmp_path / runs / "depth-1" / "grpo_final-0" / POLICY for runs in ("whole", "broken")]
    weights = set(map(checkpoint.load_digest, policies))
    assert len(weights) == 1
    assert {row["panel"] for row in result.tables["Panels"]} >= {"depth-1", "end-depth-1", "end-G1_instruction"}


@pytest.mark.parametrize("arm", ["rft", "eto", "sft"])
def test_a_baseline_that_is_broken_off_goes_on_to_the_same_numbers(
    arm: str, start: Path, shared: Path, tmp_path: Path
) -> None:
    runs = []
    for name, at in (("whole", 0), ("broken", 1)):
        config = arm_config(arm, 0, shared, start, 48, tmp_path / name, {"episodes": 8})
        panel = Panel("depth-1", {"split": "depth-1"}, 2)
        plan = Plan(arm, 0, 2, "", config, (panel,), (panel,), {})
        plan.write()
        if at:
            broken_off(plan, at)
        play(plan.folder, lambda calls, passed: None)
        runs.append(curve(plan.folder))
    assert runs[0] == runs[1]
    assert runs[0][-1][key(SAMPLED, "depth-1", "episodes")] == 2
    # Settings of two baselines may be equal, and `steptool report` tells their policies apart by these.
    assert checkpoint.load_config(tmp_path / "whole" / POLICY)["arm"] == arm


@pytest.mark.parametrize("arm", ["rft", "eto"])
def test_a_baseline_with_long_iterations_ends_when_its_calls_are_used_up(
    arm: str, start: Path, shared: Path, tmp_path: Path
) -> None:
    config = arm_config(arm, 0, shared, start, 34, tmp_path, {"episodes": 16})
    group = config.algorithm.group_size * config.env.args["call_budget"]
    assert group < 32
    panel = Panel("depth-1", {"split": "depth-1"}, 2)
    plan = Plan(arm, 0, 1, "", config, (panel,), (panel,), {})
    plan.write()
    play(plan.folder, lambda calls, passed: None)
    result = read_result(plan.folder)
    assert result is not None
    assert 34 <= result["curve"][-1]["calls"] < 34 + group


def test_runs_of_other_settings_are_not_mixed(start: Path, shared: Path, tmp_path: Path) -> None:
    for plan in planned(options(start, shared, tmp_path), origin()):
        plan.write()
    with pytest.raises(ConfigurationError, match=r"start holds a run of other settings \(config.\w+: 64, not 65\)"):
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
    headings = [heading for heading in results[0].tables if heading.startswith("Curves")]
    assert [results[0].tables[heading] for heading in headings] == [results[1].tables[heading] for heading in headings]


@pytest.mark.parametrize("arm", ARMS)
def test_arms_differ_in_nothing_but_what_they_are(arm: str, start: Path, shared: Path, tmp_path: Path) -> None:
    config = arm_config(arm, 3, shared, start, 500, tmp_path, {"optim": {"lr": 0.5}})
    assert config.env.reward == ARMS[arm].reward
    assert (config.policy.critic == "none") != ARMS[arm].critic
    assert config.algorithm.mini_batches == (1 if arm == "reinforce" else 3)
    assert (config.seed, config.calls, config.env.args, config.optim.lr) == (3, 500, TASKS, 0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": ("ppo",)}, "--arms ppo: no such arm; there are final"),
        ({"seeds": 0}, "--seeds 0: must be at least 1"),
        ({"end_splits": ("depth-4",)}, "--end-splits: depth-1 is missing"),
    ],
)
def test_wrong_options_say_what_is_right(start: Path, shared: Path, tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        run(options(start, shared, tmp_path, **changes))
