"""Report of the learning experiment: hypotheses, pass rates, comparisons, curves and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from agents.reporting.plots import Curve, line_plot
from benchmarks.harness.report import Result, Row, Value
from benchmarks.learning.aggregates import Estimate, difference, estimate, improvement, iqm
from benchmarks.learning.arms import ARMS
from benchmarks.learning.finished_runs import ALL, NAMES, START, Experiment, rates_of
from benchmarks.learning.hypotheses import MARGIN, findings, growth
from benchmarks.learning.training_run import DEPTHS, measured

_BASELINE = "final"
_BEHAVIOUR = {
    "needed calls done %": ("progress", 100.0),
    "finished %": ("finished", 100.0),
    "invalid calls %": ("invalid_calls", 100.0),
    "calls": ("calls", 1.0),
}


def report(experiment: Experiment) -> Result:
    """Return the result with all tables and figures."""
    tables: dict[str, Sequence[Row]] = {
        "Hypotheses": _hypotheses(experiment),
        "Pass rate at the end, %": _ends(experiment),
        **({f"Compared with {_BASELINE}": _against(experiment)} if _BASELINE in experiment.runs else {}),
        "Behaviour at the end": _behaviour(experiment),
        "Curves, pass rate %": _curves(experiment),
        "Runs": _runs(experiment),
        "Arms": [{"arm": arm, "what it is": ARMS[arm].about} for arm in experiment.runs],
        "Settings": _settings(experiment),
    }
    figures = {f"Pass rate on held-out tasks, {name}": _figure(experiment, i) for i, name in enumerate(NAMES)}
    title = "Learning curves: step rewards, final reward and controls"
    return Result("learning", title, tables, _notes(experiment), figures)


def _hypotheses(experiment: Experiment) -> list[Row]:
    return [
        {
            "hypothesis": found.hypothesis.words,
            "predicted": found.hypothesis.predicted,
            "points": _percent(found.value),
            "low": _percent(found.low),
            "high": _percent(found.high),
            "outcome": found.outcome,
        }
        for found in findings(experiment)
    ]


def _ends(experiment: Experiment) -> list[Row]:
    start = {"arm": START, **{name: _text(rate) for name, rate in zip(NAMES, experiment.start, strict=True)}}
    rows: list[Row] = [start]
    for arm in experiment.runs:
        found = estimate(iqm, experiment.last(arm))
        rows.append({"arm": arm, **{name: _interval(found, index) for index, name in enumerate(NAMES)}})
    return rows


def _against(experiment: Experiment) -> list[Row]:
    """Return the differences of interquartile means in points, and the probability of improvement over all depths."""
    rows: list[Row] = []
    for arm in experiment.runs:
        if arm == _BASELINE:
            continue
        pair = experiment.last(arm), experiment.last(_BASELINE)
        gaps, grown, better = (estimate(statistic, *pair) for statistic in (difference, growth, improvement))
        row: dict[str, Value] = {"arm": arm}
        row |= {f"{name}, points": _interval(gaps, index) for index, name in enumerate(NAMES)}
        row["depth 3 less depth 1, points"] = _interval(grown, ())
        row["probability of improvement, %"] = _interval(better, ALL)
        rows.append(row)
    return rows


def _behaviour(experiment: Experiment) -> list[Row]:
    """Return the means of other metrics over runs and depths at the last evaluation."""
    rows: list[Row] = []
    for arm, runs in experiment.runs.items():
        records = [(run["curve"][-1], depth) for run in runs for depth in DEPTHS]
        means = {
            column: factor * fmean(measured(record, depth, name) for record, depth in records)
            for column, (name, factor) in _BEHAVIOUR.items()
        }
        passed = fmean(measured(record, depth, "is_solved") for record, depth in records)
        finished = means["finished %"] / 100
        rows.append({"arm": arm, "pass given finish %": 100 * passed / finished if finished else None, **means})
    return rows


def _curves(experiment: Experiment) -> list[Row]:
    rows: list[Row] = []
    for arm, scores in experiment.scores.items():
        found = estimate(iqm, scores)
        for point, calls in enumerate(experiment.calls):
            row: dict[str, Value] = {"arm": arm, "calls": calls}
            for index, name in enumerate(NAMES):
                value, low, high = (_percent(float(part[point, index])) for part in found)
                row |= {name: value, f"{name} low": low, f"{name} high": high}
            rows.append(row)
    return rows


def _runs(experiment: Experiment) -> list[Row]:
    rows: list[Row] = []
    for runs in experiment.runs.values():
        for run in runs:
            last = run["curve"][-1]
            rates = {name: 100 * float(rate) for name, rate in zip(NAMES, rates_of(last), strict=True)}
            made = {"calls": int(last["calls"]), "seconds": round(run["seconds"]), "commit": run["origin"]["commit"]}
            rows.append({"arm": run["arm"], "seed": run["seed"], **rates, **made})
    return rows


def _figure(experiment: Experiment, index: int) -> str:
    curves = {}
    for arm, scores in experiment.scores.items():
        found = estimate(iqm, scores[:, index])
        curves[arm] = Curve(experiment.calls, *(part.tolist() for part in found))
    return line_plot(curves, "environment calls", f"pass rate, {NAMES[index]}", percent=True)


def _settings(experiment: Experiment) -> list[Row]:
    """Return the settings that all arms share, flat."""
    flats = [dict(_flat(runs[0]["config"])) for runs in experiment.runs.values()]
    own = {"seed", "out", "algo"}
    common = [key for key, value in flats[0].items() if key not in own and all(f[key] == value for f in flats)]
    return [{"setting": key, "value": str(flats[0][key])} for key in common]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    entries: list[tuple[str, Any]] = []
    for key, value in settings.items():
        nested = isinstance(value, Mapping) and not key.endswith("args")
        entries += _flat(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return entries


def _notes(experiment: Experiment) -> list[str]:
    first = next(iter(experiment.runs.values()))
    config, seeds = first[0]["config"], len(first)
    return [
        f"{seeds} runs of each arm. Pass rates are interquartile means over runs; brackets and bands are 95 % "
        "percentile bootstrap intervals over runs, arms resampled apart, the depths of a run kept together. With 5 "
        "runs such an interval is too narrow: it misses more often than once in twenty.",
        f"{config['eval_episodes']} held-out tasks of each depth (the splits depth-1 to depth-3), the same for every "
        "run and evaluation, actions sampled at temperature 1 as in training. `all` is the mean over the depths.",
        f"Outcomes are read off the intervals with a margin of {100 * MARGIN:.0f} points (docs/learning.md).",
        "A run ends with the iteration in which its calls are used up; `calls` says how many it made.",
        f"Weights of the starting policy: {first[0]['start']}.",
    ]


def _percent(rate: float) -> float | None:
    return None if np.isnan(rate) else round(100 * rate, 2)


def _text(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _interval(found: Estimate, index: int | tuple[()]) -> str:
    value, low, high = (float(part[index]) for part in found)
    return _text(value) if np.isnan(low) else f"{_text(value)} [{_text(low)}, {_text(high)}]"
