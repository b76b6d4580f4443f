"""Learning curves of runs: one plot per metric, one curve per arm with a band over its seeds, or one per run."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from agents.reporting.html import format_number, format_rate
from agents.reporting.plots import Curve, line_plot
from agents.training.metrics_log import read_metrics
from agents.view.run_folders import RunInfo, pass_metrics
from steptool_env.errors import DataError

_POINTS = 60  # of a mean over seeds
_WINDOW = 10  # iterations that a pass rate of training is averaged over
_PLOTS = 12


class RunCurve(NamedTuple):
    """Values of one metric of one run: environment calls and values, shape (points,) each."""

    run: RunInfo
    calls: Sequence[float]
    values: Sequence[float]


class CurvePlot(NamedTuple):
    """Plot of one metric, with its text for readers that see no picture."""

    title: str
    svg: str
    text: str
    caption: str


def metric_names(runs: Sequence[RunInfo]) -> list[str]:
    """Return the names of the metrics of some runs: pass rates first."""
    names: dict[str, None] = {}
    for run in runs:
        for record in _records(run):
            names |= dict.fromkeys(record)
    rates = pass_metrics(list(names))
    return rates + sorted(names.keys() - {*rates, "calls", "iteration"})


def curve_plots(runs: Sequence[RunInfo], metric: str = "", *, by_seed: bool = False) -> list[CurvePlot]:
    """Return a plot of `metric`, or one per pass rate, held-out ones first.

    Args:
        runs: Runs with metrics; others are left out.
        metric: Name of a metric; empty for the pass rates.
        by_seed: Draw every run; else the mean over the seeds of an arm, with a band from the lowest to the highest.
    """
    records = {run.name: _records(run) for run in runs}
    names = (
        [metric] if metric else pass_metrics(list(dict.fromkeys(n for rs in records.values() for r in rs for n in r)))
    )
    plots = []
    for name in names[:_PLOTS]:
        found = [curve for run in runs if (curve := _curve(run, records[run.name], name)) is not None]
        if found:
            plots.append(_plot(name, found, by_seed=by_seed))
    return plots


def _records(run: RunInfo) -> list[dict[str, float]]:
    try:
        return read_metrics(run.folder) if run.has_metrics else []
    except (OSError, ValueError, DataError):
        return []  # the table of runs shows the problem


def _curve(run: RunInfo, records: Sequence[Mapping[str, float | None]], metric: str) -> RunCurve | None:
    points = [(r.get("calls") or 0, value) for r in records if (value := r.get(metric)) is not None]
    if not points:
        return None
    values = [value for _, value in points]
    if metric == "rollout/is_solved":
        values = [float(np.mean(values[max(0, end - _WINDOW) : end])) for end in range(1, len(values) + 1)]
    return RunCurve(run, [float(calls) for calls, _ in points], values)


def _plot(metric: str, found: Sequence[RunCurve], *, by_seed: bool) -> CurvePlot:
    labels = {each.run.name: each.run.name for each in found} if by_seed else _labels([each.run for each in found])
    arms: dict[str, list[RunCurve]] = {}
    for each in found:
        arms.setdefault(labels[each.run.name], []).append(each)
    curves = {arm: _mean(each) for arm, each in arms.items()}
    is_rate = metric.endswith(("pass_rate", "is_solved"))
    svg = line_plot(curves, "environment calls", metric.rpartition("/")[2].replace("_", " "), percent=is_rate)
    show = format_rate if is_rate else format_number
    ends = [
        f"{arm}: {show(curve.y[0])} at first, {show(curve.y[-1])} at {curve.x[-1]:,.0f} calls"
        for arm, curve in curves.items()
    ]
    notes = ["Band: from the lowest seed to the highest."] if any(len(curve.low) for curve in curves.values()) else []
    notes += [f"Mean of the last {_WINDOW} iterations."] if metric == "rollout/is_solved" else []
    return CurvePlot(metric, svg, f"{escape(metric)}. {'; '.join(ends)}.", " ".join(notes))


def _labels(runs: Sequence[RunInfo]) -> dict[str, str]:
    """Return the name of each run's curve, the same for runs whose settings differ by the seed alone."""
    groups: dict[str, list[RunInfo]] = {}
    for run in runs:
        groups.setdefault(f"{run.arm}/{run.settings_digest or run.name}", []).append(run)
    labels: dict[str, str] = {}
    for first, *others in groups.values():
        folder = first.name.partition("/")[0]
        options = (first.arm or first.name, f"{first.arm}, {first.reward}", f"{first.arm}, {folder}", first.name)
        label = next(option for option in options if option not in labels.values() or option == first.name)
        labels |= {run.name: label for run in (first, *others)}
    return labels


def _mean(curves: Sequence[RunCurve]) -> Curve:
    """Return the mean over the seeds of an arm, where all of them have values, with the range as a band."""
    if len(curves) == 1:
        return Curve(curves[0].calls, curves[0].values)
    first, last = max(c.calls[0] for c in curves), min(c.calls[-1] for c in curves)
    grid = np.linspace(first, max(first, last), _POINTS if last > first else 1)
    rows = np.array([np.interp(grid, c.calls, c.values) for c in curves])
    return Curve(grid.tolist(), rows.mean(0).tolist(), rows.min(0).tolist(), rows.max(0).tolist())
