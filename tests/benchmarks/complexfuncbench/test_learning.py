"""The learning curve on ComplexFuncBench with an untrained policy: both arms from one start, done once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents.models.bundle import load_policy
from agents.training.config import read_yaml
from benchmarks.complexfuncbench.fine_tuning import CONFIG, oracle_episodes
from benchmarks.complexfuncbench.learning import _COLUMNS, Options, _report, run
from steptool_env.errors import ConfigurationError


@pytest.fixture
def config(complexfuncbench_data: Path, tmp_path: Path) -> Path:
    """Settings of a few seconds: short answers, actions and episodes, of one group."""
    settings = read_yaml(CONFIG)
    settings |= {"sampling": {"max_action_tokens": 2}, "episodes": 8, "critic_warmup": 0}
    settings["policy"] |= {"context": 2500, "lora_rank": 2}
    settings["env"]["args"] |= {"group": "Attraction", "call_budget": 2, "max_observation_length": 64}
    (path := tmp_path / "config.yaml").write_text(json.dumps(settings))
    return path


def test_two_arms_train_from_the_start_that_the_demonstrations_made(config: Path, start: Path, tmp_path: Path) -> None:
    options = Options(
        policy=start, demonstrations=6, epochs=2, calls=32, points=2, episodes=2, config=config, runs=tmp_path / "runs"
    )
    result = run(options)
    assert result.name == "complexfuncbench_learning_attraction", "of the group, beside that of all groups"
    assert result.notes[-1].startswith("The first 64 characters of answers, which a policy sees, hold all values")
    tuning, training, differences, ends, panels = result.tables.values()
    assert [row["passes"] for row in tuning] == [0, 1, 2]
    losses = [float(str(row["loss, nats per token"])) for row in tuning]
    assert losses[2] < losses[1] < losses[0]
    assert [(row["arm"], row["calls"]) for row in training] == [
        (arm, calls) for arm in ("steptool", "final") for calls in (0, 16, 32)
    ]
    assert [(row["policy"], row["tasks"]) for row in ends] == [
        (policy, tasks) for policy in ("start", "steptool", "final") for tasks in ("test", "test-patterns")
    ]
    assert [row["tasks"] for row in differences] == ["test", "test-patterns"]
    assert len({row["digest"] for row in panels}) == 2
    assert load_policy(tmp_path / "runs" / "start").context == 2500
    for arm in ("steptool", "final"):
        plan = json.loads((tmp_path / "runs" / f"{arm}-0" / "plan.json").read_text())
        assert plan["config"]["env"]["reward"] == {"steptool": "progress", "final": "final"}[arm]
        assert plan["config"]["env"]["id"] == "StepTool/ComplexFuncBench-v0"
    assert all("ToolWorld" in svg for caption, svg in result.figures.items() if "ToolWorld" in caption)

    kept = (tmp_path / "runs" / "start" / "result.json").stat().st_mtime_ns
    assert run(options).tables == result.tables
    assert (tmp_path / "runs" / "start" / "result.json").stat().st_mtime_ns == kept
    with pytest.raises(ConfigurationError, match="start holds a fine-tuning of other settings"):
        run(replace(options, demonstrations=5))
    alone = run(replace(options, calls=0))
    assert [row["policy"] for row in alone.tables["At the end, greedy"]] == ["start", "start"]
    assert alone.tables.items() >= {caption: result.tables[caption] for caption in list(result.tables)[:1]}.items()
    with pytest.raises(ConfigurationError, match="calls=-1: must be at least 0"):
        run(replace(options, calls=-1))
    with pytest.raises(ConfigurationError, match="points=0: must be at least 1"):
        run(replace(options, points=0))


def test_an_iteration_that_reaches_several_marks_has_the_evaluation_of_each() -> None:
    """One evaluation follows it, so runs of one arm may have different numbers of evaluations."""

    def record(calls: int, panel: str, rate: float) -> dict[str, float]:
        return {"calls": calls, **{f"greedy/{panel}/{metric}": rate for metric in _COLUMNS.values()}}

    def result(*evaluations: tuple[int, float]) -> dict[str, object]:
        curve = [record(calls, "test", rate) for calls, rate in evaluations]
        return {"curve": curve, "last": record(0, "test-patterns", 0.0), "seconds": 1.0}

    runs = {
        "steptool": [result((17, 0.2), (33, 0.4)), result((9, 0.1), (18, 0.2), (34, 0.4))],
        "final": [result((40, 0.3)), result((40, 0.3))],
    }
    start = {
        "curve": [{"passes": 0, "loss": 1.0, **dict.fromkeys(_COLUMNS.values(), 0.0)}],
        "test": {**record(0, "test", 0.0), **record(0, "test-patterns", 0.0)},
        "digests": {},
        "seconds": 1.0,
    }
    tables = _report(Options(calls=32, points=4, seeds=2), start, runs).tables
    rows = [(row["arm"], row["calls"], row["solved %"]) for row in tables["Training with rewards: test tasks, greedy"]]
    curves = {"steptool": ("0.0", "15.0", "20.0", "40.0", "40.0"), "final": ("0.0", "30.0", "30.0", "30.0", "30.0")}
    expected = [(arm, 8 * mark, rate) for arm, rates in curves.items() for mark, rate in enumerate(rates)]
    assert [(arm, calls, str(rate).partition(" ")[0]) for arm, calls, rate in rows] == expected


def test_demonstrations_are_spread_over_all_groups(complexfuncbench_data: Path) -> None:
    """Groups follow each other in a split, so its first tasks would be of one group."""
    shown = oracle_episodes(CONFIG, "train", 20)
    groups = [each.task.id.rpartition("-")[0] for each in shown]
    assert {group: groups.count(group) for group in groups} == {
        "Car-Rental": 3, "Cross": 8, "Hotels": 3, "Attraction": 3, "Flights": 3,
    }  # fmt: skip
    assert all(each.metadata["outcome"]["is_solved"] == 1 for each in shown)
    with pytest.raises(ConfigurationError, match="561 tasks: 'train' of ComplexFuncBench has 560"):
        oracle_episodes(CONFIG, "train", 561)
