"""The page of the learning experiment: outcomes as stated beforehand, read off runs with known scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.evaluation.panels import DECODINGS, GREEDY, key
from agents.training.config import make_config
from benchmarks.harness.report import markdown, origin, publish
from benchmarks.learning.aggregates import budget_left, calls_to_reach, difference, mean_difference
from benchmarks.learning.finished_runs import START, Experiment
from benchmarks.learning.hypotheses import (
    Hypothesis,
    findings,
    growth,
    pass_at,
    pass_by_depth,
    reaching,
    verdict,
)
from benchmarks.learning.report import report
from benchmarks.learning.training_run import BEST

CURVE = "depth-4"
RATES = {"steptool": (0.7, 0.6), "final": (0.7, 0.2), "released": (0.4, 0.05)}
"""Greedy pass rates at the end of depth 1 and depth 4; the curve of depth 4 is linear from the start's rate."""
OF_START = (0.6, 0.1)
SPREAD = (-0.02, -0.01, 0.0, 0.01, 0.02)
PANELS = ("end-depth-1", f"end-{CURVE}")


def measured(panel: str, rate: float, decoding: str) -> dict[str, float]:
    metrics = {"pass_rate": rate, "finish_rate": 0.8, "invalid_call_rate": 0.1, "calls": 2.0, "recall": 0.5}
    return {key(decoding, panel, name): value for name, value in metrics.items()}


def evaluation(panels: Mapping[str, float], *decodings: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for decoding in decodings:
        for panel, rate in panels.items():
            found |= measured(panel, rate, decoding)
    return found


def result(arm: str, rates: tuple[float, float], seed: int, shift: float) -> dict[str, Any]:
    decodings = (*DECODINGS, BEST) if arm == START else tuple(DECODINGS)
    last = evaluation({p: rate + shift for p, rate in zip(PANELS, rates, strict=True)}, *decodings)
    half = (OF_START[1] + rates[1] + shift) / 2
    points = [(0, OF_START[1])] if arm == START else [(55, half), (110, rates[1] + shift)]
    curve = [{"calls": calls, **evaluation({CURVE: rate}, *decodings)} for calls, rate in points]
    made = {"config": asdict(make_config({"calls": 100, "seed": seed})), "origin": {"commit": "abc"}, "seconds": 1.0}
    panels = {"curve_panels": [{"name": CURVE, "episodes": 2}], "end_panels": [{"name": name} for name in PANELS]}
    start = {"temperature": 0.3, "validation": {"0.3": 0.2}, "digests": dict.fromkeys((CURVE, *PANELS), "ab")}
    found = {"arm": arm, "seed": seed, "points": 2, "start": "digest", "curve": curve, "last": last, **made, **panels}
    return {**found, **(start if arm == START else {})}


def experiment(rates: Mapping[str, tuple[float, float]] = RATES) -> Experiment:
    runs = [result(arm, rates[arm], seed, shift) for arm in rates for seed, shift in enumerate(SPREAD)]
    return Experiment.of(tuple(rates), [result(START, OF_START, 0, 0.0), *runs])


HYPOTHESES = (
    Hypothesis("depth 4", "> 0", ("steptool", "final"), pass_at(PANELS[1])),
    Hypothesis("depth 1", "about 0", ("steptool", "final"), pass_at(PANELS[0])),
    Hypothesis("grows", "> 0", ("steptool", "final"), pass_by_depth(*PANELS), growth),
    Hypothesis("sooner", "> 0", ("steptool", "final"), reaching(0.25), mean_difference),
    Hypothesis("control", "not > 0", ("released",), pass_at(PANELS[1])),
)


def test_every_hypothesis_is_measured_as_it_is_stated() -> None:
    found = findings(experiment(), HYPOTHESES)
    # steptool reaches 0.25 at about 30 of 100 calls, final in no run: 70 % of the budget is left, and 0 %.
    assert [each.value for each in found] == pytest.approx([0.4, 0.0, 0.4, 0.7, -0.05], abs=0.005)
    assert [each.outcome for each in found] == ["borne out"] * 5


def test_a_hypothesis_whose_arms_were_not_run_is_left_out() -> None:
    some = experiment({"final": RATES["final"], "released": RATES["released"]})
    assert [each.hypothesis.words for each in findings(some, HYPOTHESES)] == ["control"]


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
    floor = experiment(dict.fromkeys(RATES, (0.7, 0.02)))
    sooner, depth_4 = findings(floor, (HYPOTHESES[3], HYPOTHESES[0]))
    assert sooner.outcome == depth_4.outcome == "open: no arm passes"


def test_a_level_is_reached_between_two_evaluations_or_not_at_all() -> None:
    curves = np.array([[0.1, 0.3, 0.1, 0.0], [0.2, 0.3, 0.1, 0.5], [0.4, 0.1, 0.2, 0.1]])
    reached = calls_to_reach(curves, [0, 100, 200], 0.3)
    assert reached.tolist() == pytest.approx([150.0, 0.0, inf, 60.0])
    assert budget_left(reached, 200).tolist() == pytest.approx([0.25, 1.0, 0.0, 0.7])


def test_curves_begin_at_the_start_and_take_the_first_evaluation_after_each_mark() -> None:
    found = experiment()
    assert found.calls == [0, 50, 100]
    assert found.curve("final").shape == (3, 5)
    assert found.curve("final")[:, 4].tolist() == pytest.approx([0.1, 0.16, 0.22])
    assert difference(found.last("steptool", PANELS[1]), found.last("final", PANELS[1])) == pytest.approx(0.4)


def test_the_page_says_which_runs_did_not_reach_a_level(tmp_path: Path) -> None:
    publish(report(experiment()), origin(), tmp_path)
    content = json.loads((tmp_path / "learning_depth_4.json").read_text())
    assert (tmp_path / "learning_depth_4.md").read_text() == markdown(content)
    reach = {
        (row["arm"], row["level %"]): row for row in content["tables"][f"Environment calls to a pass rate on {CURVE}"]
    }
    assert reach["steptool", "25"]["runs that reach it"] == "5 of 5"
    assert reach["final", "25"]["runs that reach it"] == "0 of 5"
    assert reach["final", "25"]["restricted mean, calls"].startswith("100 ")
    assert reach["final", "25"]["calls of each run"] == ", ".join(["not reached"] * 5)
    assert reach["steptool", "25"]["probability of reaching it before final %"].startswith("100.0")
    assert reach["released", "25"]["probability of reaching it before final %"].startswith("50.0")


def test_the_page_holds_the_lines_of_the_start_tables_and_figures(tmp_path: Path) -> None:
    publish(report(experiment()), origin(), tmp_path)
    content, page = (
        json.loads((tmp_path / "learning_depth_4.json").read_text()),
        (tmp_path / "learning_depth_4.md").read_text(),
    )
    lines = {row["decoding"]: row for row in content["tables"]["The start, pass rate %"]}
    assert (lines[BEST]["temperature"], lines[GREEDY]["temperature"]) == (0.3, 0.0)
    ends = {row["arm"]: row for row in content["tables"]["Pass rate at the end, greedy, %"]}
    assert ends["steptool"][CURVE].startswith("60.0 [")
    better = {row["arm"]: row for row in content["tables"]["Compared with final"]}["steptool"]
    assert better[f"probability of improvement on {CURVE}, %"].startswith("100.0")
    behaviour = content["tables"]["Behaviour at the end on depth-4, greedy"]
    assert [row["arm"] for row in behaviour] == [START, *RATES]
    assert "families solved" not in behaviour[0]  # no run measured it
    assert len(content["tables"]["Runs"]) == 15
    assert {"setting": "calls", "value": "100"} in content["tables"]["Settings"]
    assert len(content["figures"]) == 2
    for caption, file in content["figures"].items():
        assert f"![{caption}]({file})" in page
        svg = (tmp_path / file).read_text()
        assert svg.startswith("<svg")
        assert {f"start, {line}" for line in (*DECODINGS, BEST)} <= set(svg.replace("<", ">").split(">"))
