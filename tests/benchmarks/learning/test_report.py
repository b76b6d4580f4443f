"""The page of the learning experiment: outcomes as stated beforehand, read off runs with known pass rates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Any

import pytest

from agents.training.config import make_config
from benchmarks.harness.report import markdown, origin, publish
from benchmarks.learning.finished_runs import START, Experiment
from benchmarks.learning.hypotheses import findings, verdict
from benchmarks.learning.report import report

RATES = {
    START: (0.5, 0.3, 0.1),
    "steptool": (0.8, 0.7, 0.6),
    "final": (0.8, 0.5, 0.2),
    "final_dense_sum": (0.8, 0.6, 0.4),
    "released": (0.4, 0.2, 0.1),
}
SPREAD = (-0.02, -0.01, 0.0, 0.01, 0.02)


def record(calls: int, rates: tuple[float, ...], shift: float = 0.0) -> dict[str, float]:
    metrics = {"finished": 0.8, "invalid_calls": 0.1, "calls": 2.0, "progress": 0.5}
    found: dict[str, float] = {"calls": calls}
    for depth, rate in enumerate(rates, 1):
        found |= {f"eval/depth-{depth}/{name}": value for name, value in metrics.items()}
        found[f"eval/depth-{depth}/is_solved"] = rate + shift
    return found


def result(arm: str, rates: tuple[float, ...], seed: int, shift: float) -> dict[str, Any]:
    config = asdict(make_config({"calls": 100, "seed": seed}))
    curve = [record(calls, rates, shift) for calls in ([0] if arm == START else [55, 110])]
    made = {"config": config, "origin": {"commit": "abc"}, "seconds": 1.0, "start": "digest", "points": 2}
    return {"arm": arm, "seed": seed, "curve": curve, **made}


def experiment(rates: Mapping[str, tuple[float, ...]] = RATES) -> Experiment:
    arms = [arm for arm in rates if arm != START]
    runs = [result(arm, rates[arm], seed, shift) for arm in arms for seed, shift in enumerate(SPREAD)]
    return Experiment.of(arms, [result(START, rates[START], 0, 0.0), *runs])


def test_every_hypothesis_is_measured_as_it_is_stated() -> None:
    found = findings(experiment())
    assert [each.value for each in found] == pytest.approx([0.4, 0.0, 0.2, 0.2, 7 / 30 - 0.3])
    assert [each.outcome for each in found] == ["borne out"] * 5


def test_a_hypothesis_whose_arms_were_not_run_is_left_out() -> None:
    some = experiment({name: RATES[name] for name in (START, "final", "released")})
    assert [each.hypothesis.arms for each in findings(some)] == [("released",)]


@pytest.mark.parametrize(
    ("predicted", "low", "high", "outcome"),
    [
        ("> 0", 0.01, 0.3, "borne out"),
        ("> 0", -0.1, 0.3, "open"),
        ("> 0", -0.3, -0.1, "contradicted"),
        ("> 0", -0.02, 0.05, "contradicted"),
        ("about 0", -0.04, 0.05, "borne out"),
        ("about 0", 0.01, 0.04, "borne out"),
        ("about 0", -0.1, 0.1, "open"),
        ("about 0", 0.01, 0.2, "contradicted"),
        ("not > 0", -0.5, 0.05, "borne out"),
        ("not > 0", -0.1, 0.2, "open"),
        ("not > 0", 0.01, 0.2, "contradicted"),
        ("> 0", nan, nan, "open"),
        ("about 0", nan, nan, "open"),
        ("not > 0", nan, nan, "open"),
    ],
)
def test_an_outcome_is_read_off_the_interval(predicted: str, low: float, high: float, outcome: str) -> None:
    assert verdict(predicted, low, high) == outcome


def test_where_no_arm_passes_nothing_is_contradicted() -> None:
    floor = dict.fromkeys(RATES, (0.5, 0.3, 0.0))
    outcomes = [each.outcome for each in findings(experiment(floor))]
    assert outcomes == ["open: no arm passes", "borne out", *["open: no arm passes"] * 2, "borne out"]


def test_curves_begin_at_the_start_and_take_the_first_evaluation_after_each_mark() -> None:
    found = experiment()
    assert found.calls == [0, 50, 100]
    assert found.scores["final"].shape == (3, 4, 5)
    assert found.scores["final"][0, :, 3].tolist() == found.start.tolist() == pytest.approx([0.5, 0.3, 0.1, 0.3])
    assert found.last("final")[:, 4].tolist() == pytest.approx([0.82, 0.52, 0.22, 0.52])


def test_the_page_holds_tables_figures_and_settings(tmp_path: Path) -> None:
    publish(report(experiment()), origin(), tmp_path)
    content = json.loads((tmp_path / "learning.json").read_text())
    page = (tmp_path / "learning.md").read_text()
    assert page == markdown(content)
    ends = {row["arm"]: row for row in content["tables"]["Pass rate at the end, %"]}
    assert ends["start"]["depth 1"] == "50.0"
    assert ends["steptool"]["depth 3"].startswith("60.0 [")
    better = {row["arm"]: row for row in content["tables"]["Compared with final"]}["steptool"]
    assert better["probability of improvement, %"].startswith("100.0")
    assert better["depth 3 less depth 1, points"].startswith("40.0")
    assert len(content["tables"]["Runs"]) == 20
    assert {"setting": "calls", "value": "100"} in content["tables"]["Settings"]
    assert len(content["figures"]) == 4
    for caption, file in content["figures"].items():
        assert f"![{caption}]({file})" in page
        assert (tmp_path / file).read_text().startswith("<svg")
        assert (tmp_path / file).stat().st_size < 40_000
