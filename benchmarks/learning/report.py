"""Report of the learning experiment: hypotheses, calls to a pass rate, pass rates, behaviour, curves and runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.evaluation.bootstrap import Estimate, Scores, estimate, mean
from agents.evaluation.panels import DECODINGS, GREEDY, SAMPLED, key
from agents.reporting.plots import Curve, line_plot
from benchmarks.harness.report import Result, Row, Value
from benchmarks.learning.aggregates import budget_left, difference, improvement, iqm
from benchmarks.learning.arms import ARMS
from benchmarks.learning.finished_runs import LEVELS, PRIMARY_DECODING, START, Experiment
from benchmarks.learning.hypotheses import MARGIN, findings
from benchmarks.learning.training_run import BEST

_BASELINE = "final"
_BEHAVIOUR = {
    "recall %": ("recall", 100.0),
    "finished %": ("finish_rate", 100.0),
    "pass given finish %": ("pass_given_finish", 100.0),
    "invalid calls %": ("invalid_call_rate", 100.0),
    "calls": ("calls", 1.0),
    "cut by the context %": ("context_full_rate", 100.0),
    "mean over families %": ("pass_rate_families", 100.0),
    "families solved": ("families_solved", 1.0),
}
"""Column -> metric of an evaluation and its factor. Columns without a value are left out."""


def report(experiment: Experiment) -> Result:
    """Return the result with all tables and figures."""
    curve = experiment.curve_panel
    tables: dict[str, Sequence[Row]] = {
        **({"Hypotheses": rows} if (rows := _hypotheses(experiment)) else {}),
        "The start, pass rate %": _start(experiment),
        f"Environment calls to a pass rate on {curve}": _reach(experiment),
        **({f"Compared with {_BASELINE}": _against(experiment)} if _BASELINE in experiment.runs else {}),
        **{f"Pass rate at the end, {decoding}, %": _ends(experiment, decoding) for decoding in DECODINGS},
        f"Behaviour at the end on {curve}, {PRIMARY_DECODING}": _behaviour(experiment),
        f"Curves on {curve}, %": _curves(experiment),
        "Runs": _runs(experiment),
        "Arms": [{"arm": arm, "what it is": ARMS[arm].about} for arm in experiment.runs],
        "Panels": [{"panel": name, "digest": digest} for name, digest in experiment.start["digests"].items()],
        "Settings": _settings(experiment),
    }
    figures = {f"Pass rate on {curve}, {decoding}": _figure(experiment, decoding) for decoding in DECODINGS}
    title = f"Learning curves on {curve}: step rewards, final reward and controls"
    return Result(f"learning_{curve.replace('-', '_')}", title, tables, _notes(experiment), figures)


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


def _start(experiment: Experiment) -> list[Row]:
    """Return the start's pass rates: sampled, greedy, at its best temperature."""
    temperatures = {**DECODINGS, BEST: experiment.start["temperature"]}
    return [
        {
            "decoding": decoding,
            "temperature": temperature,
            **{
                _short(panel): percent_text(float(experiment.last(START, panel, decoding=decoding)[0]))
                for panel in experiment.end_panels
            },
        }
        for decoding, temperature in temperatures.items()
    ]


def _reach(experiment: Experiment) -> list[Row]:
    """Return the runs that reach each level, and their calls, restricted to the calls of training."""
    rows: list[Row] = []
    for arm in experiment.runs:
        for level in LEVELS:
            times = experiment.reach(arm, level)
            restricted = estimate(mean, np.minimum(times, experiment.horizon))
            row: dict[str, Value] = {"arm": arm, "level %": f"{100 * level:.0f}"}
            row["runs that reach it"] = f"{int(np.isfinite(times).sum())} of {len(times)}"
            row["restricted mean, calls"] = _calls(restricted)
            if _BASELINE in experiment.runs:
                pair = [budget_left(each, experiment.horizon) for each in (times, experiment.reach(_BASELINE, level))]
                better = estimate(improvement, *pair)
                row[f"probability of reaching it before {_BASELINE} %"] = interval(better) if arm != _BASELINE else None
            row["calls of each run"] = ", ".join(f"{t:.0f}" if np.isfinite(t) else "not reached" for t in sorted(times))
            rows.append(row)
    return rows


def _against(experiment: Experiment) -> list[Row]:
    """Return the differences of interquartile means at the end in points, and the probability of improvement."""
    rows: list[Row] = []
    primary = next(panel for panel in experiment.end_panels if panel.endswith(experiment.curve_panel))
    for arm in experiment.runs:
        if arm == _BASELINE:
            continue
        row: dict[str, Value] = {"arm": arm}
        for panel in experiment.end_panels:
            pair = experiment.last(arm, panel), experiment.last(_BASELINE, panel)
            row[f"{_short(panel)}, points"] = interval(estimate(difference, *pair))
        pair = experiment.last(arm, primary), experiment.last(_BASELINE, primary)
        row[f"probability of improvement on {experiment.curve_panel}, %"] = interval(estimate(improvement, *pair))
        rows.append(row)
    return rows


def _ends(experiment: Experiment, decoding: str) -> list[Row]:
    return [
        {
            "arm": arm,
            **{
                _short(panel): interval(estimate(iqm, experiment.last(arm, panel, decoding=decoding)))
                for panel in experiment.end_panels
            },
        }
        for arm in experiment.runs
    ]


def _behaviour(experiment: Experiment) -> list[Row]:
    """Return the means of other metrics over runs at the primary depth, the start's first."""
    panel = next(panel for panel in experiment.end_panels if panel.endswith(experiment.curve_panel))
    rows: list[dict[str, Value]] = []
    for arm in (START, *experiment.runs):
        found = {
            column: factor * _mean(experiment.last(arm, panel, name)) for column, (name, factor) in _BEHAVIOUR.items()
        }
        rows.append({"arm": arm, **{column: None if np.isnan(value) else value for column, value in found.items()}})
    empty = [column for column in _BEHAVIOUR if all(row[column] is None for row in rows)]
    return [{column: value for column, value in row.items() if column not in empty} for row in rows]


def _curves(experiment: Experiment) -> list[Row]:
    rows: list[Row] = []
    for arm in experiment.runs:
        found = {decoding: estimate(iqm, experiment.curve(arm, decoding)) for decoding in DECODINGS}
        for point, calls in enumerate(experiment.calls):
            row: dict[str, Value] = {"arm": arm, "calls": calls}
            for decoding, parts in found.items():
                value, low, high = (_percent(float(part[point])) for part in parts)
                row |= {decoding: value, f"{decoding} low": low, f"{decoding} high": high}
            rows.append(row)
    return rows


def _runs(experiment: Experiment) -> list[Row]:
    rows: list[Row] = []
    for runs in experiment.runs.values():
        for run in runs:
            rates = {
                f"{_short(panel)} {decoding}": 100 * run["last"][key(decoding, panel, "pass_rate")]
                for panel in experiment.end_panels
                if "depth" in panel
                for decoding in (SAMPLED, GREEDY)
            }
            made = {"calls": int(run["curve"][-1]["calls"]), "seconds": round(run["seconds"])}
            rows.append({"arm": run["arm"], "seed": run["seed"], **rates, **made, "commit": run["origin"]["commit"]})
    return rows


def _figure(experiment: Experiment, decoding: str) -> str:
    curves = {}
    for arm in experiment.runs:
        found = estimate(iqm, experiment.curve(arm, decoding))
        curves[arm] = Curve(experiment.calls, *(part.tolist() for part in found))
    for line in (SAMPLED, GREEDY, BEST):
        rate = experiment.start["curve"][0][key(line, experiment.curve_panel, "pass_rate")]
        curves[f"start, {line}"] = Curve([0, experiment.horizon], [rate, rate])
    return line_plot(curves, "environment calls", f"pass rate, {experiment.curve_panel}, {decoding}", percent=True)


def _settings(experiment: Experiment) -> list[Row]:
    """Return the settings that all arms share, flat, then those that differ, arm by arm."""
    flats = {arm: dict(_flat(runs[0]["config"])) for arm, runs in experiment.runs.items()}
    own = {"seed", "out"}
    names = [name for name in next(iter(flats.values())) if name not in own]
    rows: list[Row] = []
    for name in names:
        values = {arm: str(flat[name]) for arm, flat in flats.items()}
        if len(set(values.values())) == 1:
            rows.append({"setting": name, "value": next(iter(values.values()))})
        else:
            rows.append({"setting": name, "value": "; ".join(f"{arm}: {value}" for arm, value in values.items())})
    return rows


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    entries: list[tuple[str, Any]] = []
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and not name.endswith("args")
        entries += _flat(value, f"{prefix}{name}.") if nested else [(f"{prefix}{name}", value)]
    return entries


def _notes(experiment: Experiment) -> list[str]:
    first = next(iter(experiment.runs.values()))
    start = experiment.start
    tasks = sum(panel["episodes"] for panel in start["curve_panels"])
    validation = ", ".join(f"{float(t):g}: {100 * rate:.1f} %" for t, rate in start["validation"].items())
    return [
        f"{len(first)} runs of each arm. Pass rates are interquartile means over runs; brackets and bands are 95 % "
        "percentile bootstrap intervals over runs, arms resampled separately.",
        f"Calls to a pass rate: linear between the evaluations of 0 to {experiment.horizon:,} "
        "calls. A run that does not reach it is censored: it counts as all calls of training in the restricted mean, "
        "which is therefore a lower bound, and as equal to all others that do not reach it in the probability.",
        f"The start's best temperature, {start['temperature']:g}, was chosen on validation tasks ({validation}).",
        f"Curves are on {tasks} tasks of {experiment.curve_panel}; panels of the evaluation at the end "
        "have more. No task of a panel was used to choose a setting.",
        f"Outcomes of hypotheses are read off the intervals with a margin of {100 * MARGIN:.0f} points.",
        "A run ends with the iteration in which its calls are used up; `calls` says how many it made.",
        f"Weights of the starting policy: {first[0]['start']}.",
    ]


def _short(panel: str) -> str:
    """Return the split of a panel of the evaluation at the end."""
    return panel.removeprefix("end-")


def _mean(values: Scores) -> float:
    """Return the mean of the defined values; nan without one."""
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if len(defined) else float("nan")


def _percent(rate: float) -> float | None:
    return None if np.isnan(rate) else round(100 * rate, 2)


def percent_text(rate: float) -> str:
    """Return a rate in percent with one decimal."""
    return f"{100 * rate:.1f}"


def interval(found: Estimate) -> str:
    """Return a rate in percent with its interval, if it has one."""
    value, low, high = (float(part) for part in found)
    return (
        percent_text(value) if np.isnan(low) else f"{percent_text(value)} [{percent_text(low)}, {percent_text(high)}]"
    )


def _calls(found: Estimate) -> str:
    value, low, high = (float(part) for part in found)
    return f"{value:,.0f}" if np.isnan(low) else f"{value:,.0f} [{low:,.0f}, {high:,.0f}]"
