"""The sweep: equal numbers of trials, and a choice that a trial's scores decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.evaluation.panels import DECODINGS, key
from benchmarks.harness.report import origin
from benchmarks.learning.experiment import SHARED
from benchmarks.learning.sweep import Options, SweepPlan, planned_trials, read_plan, report, run
from steptool_env.errors import ConfigurationError

GRIDS: dict[str, Any] = {
    "steptool": [{"algorithm.gae_lambda": [0, 0.5]}, {"algorithm.gae_lambda": [0.5], "optim.lr": [0.1]}],
    "grpo": [{"episodes": [8, 16, 32]}],
}


def test_arms_have_equal_numbers_of_different_trials() -> None:
    plan = SweepPlan(100, 2, GRIDS)
    assert plan.trials("steptool") == [
        {"algorithm.gae_lambda": 0},
        {"algorithm.gae_lambda": 0.5},
        {"algorithm.gae_lambda": 0.5, "optim.lr": 0.1},
    ]
    with pytest.raises(ConfigurationError, match="the same number of different trials"):
        SweepPlan(100, 2, {**GRIDS, "grpo": [{"episodes": [8, 8, 16]}]})
    with pytest.raises(ConfigurationError, match="no such arm"):
        SweepPlan(100, 2, {"ppo": GRIDS["grpo"]})


def test_the_committed_plan_is_valid_and_its_trials_are_settings(start: Path, tmp_path: Path) -> None:
    options = Options(policy=start, runs=tmp_path)
    plan = read_plan(options.plan)
    planned = planned_trials(plan, options, origin())
    assert len({each.folder for _, each in planned}) == len(planned)
    for trial, each in planned:
        assert each.config.calls == plan.calls
        assert not each.end_panels
        assert {panel.overrides["split"] for panel in each.curve_panels} == {"validation"}
        if "algorithm.gamma" in trial:
            assert each.config.algorithm.gamma == trial["algorithm.gamma"]


def test_the_setting_with_the_best_score_over_seeds_is_chosen(start: Path, tmp_path: Path) -> None:
    plan = SweepPlan(100, 2, GRIDS, [0, 1])
    planned = planned_trials(plan, Options(policy=start, config=SHARED, runs=tmp_path), origin())
    scores = {"steptool": (0.1, 0.3, 0.2), "grpo": (0.2, 0.2, 0.1)}
    seen = dict.fromkeys(plan.arms, 0)
    results = []
    for _, each in planned:
        number, seen[each.arm] = seen[each.arm] % 3, seen[each.arm] + 1
        name = each.curve_panels[0].name
        rate = scores[each.arm][number] + (0.05 if each.seed else -0.05)
        recall = 0.5 + 0.1 * number
        record = {
            key(decoding, name, metric): value
            for decoding in DECODINGS
            for metric, value in (("pass_rate", rate), ("recall", recall))
        }
        panels = [{"name": name}]
        made = {"curve_panels": panels, "digests": {name: "ab"}, "start": "digest", "seconds": 1.0}
        results.append({"arm": each.arm, "seed": each.seed, "curve": [record, record], **made})
    tables = report(plan, [trial for trial, _ in planned], results).tables
    chosen = {row["arm"]: row for row in tables["Chosen"]}
    assert chosen["steptool"]["setting"] == "algorithm.gae_lambda 0.5"
    assert chosen["steptool"]["score %"] == pytest.approx(30.0)
    assert chosen["steptool"]["lowest score %"] == pytest.approx(10.0)
    assert chosen["grpo"]["setting"] == "episodes 16"  # of two equal ones that with the higher recall
    assert len(tables["steptool"]) == len(tables["grpo"]) == 6


def test_a_sweep_trains_and_reports_every_trial(start: Path, shared: Path, tmp_path: Path) -> None:
    plan = {
        "calls": 16,
        "episodes": 1,
        "arms": {"final": [{"algorithm.gamma": [0.9, 1]}], "grpo": [{"episodes": [8, 16]}]},
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    options = Options(policy=start, plan=tmp_path / "plan.yaml", config=shared, runs=tmp_path / "runs")
    tables = run(options).tables
    assert [row["setting"] for row in tables["final"]] == ["algorithm.gamma 0.9", "algorithm.gamma 1"]
    assert [row["seconds"] for row in run(options).tables["grpo"]] == [row["seconds"] for row in tables["grpo"]]
