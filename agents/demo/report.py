"""HTML report of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agents.demo.run import FLOORS, GREEDY
from agents.reporting.evaluation import budget_plot, comparison
from agents.reporting.html import Example, Plot, Report, write_report
from agents.reporting.plots import Curve, line_plot
from steptool_env.types import Trajectory

_EXAMPLES = 3
_START = "sft"
"""Name of the policy that training starts from."""

Runs = Mapping[str, list[Trajectory]]
Curves = Mapping[str, Sequence[Mapping[str, float]]]


def write_page(subtitle: str, runs: Runs, curves: Curves, path: Path) -> None:
    """Write the page: learning curves, the comparison, and the episodes of some tasks.

    `runs` has the trajectories of every agent on the same tasks, `curves` the records of `metrics.jsonl` of every
    trained policy.
    """
    plots = [*learning_curves(curves), budgets(runs)]
    tables = [comparison(dict(runs))]
    write_report(Report("steptool demo", subtitle, plots=plots, tables=tables, examples=examples(runs)), path)


def learning_curves(curves: Curves) -> list[Plot]:
    """Return plots of the pass rate on held-out tasks, and in training, against environment calls."""
    if not curves:
        return []
    shown = [
        ("Learning: held-out tasks", "eval/is_solved", "The same validation tasks every time. Left: the start."),
        (
            "Learning: training tasks",
            "rollout/is_solved",
            "Pass rate of each iteration's episodes, fresh tasks every time.",
        ),
    ]
    label = "environment calls of training"
    return [
        Plot(title, line_plot(drawn, label, "pass rate", percent=True), words)
        for title, metric, words in shown
        if (drawn := {name: curve for name, records in curves.items() if (curve := _curve(records, metric)).x})
    ]


def budgets(runs: Runs) -> Plot:
    """Return the plot of pass rate against call budget, without the floors where a policy was trained."""
    if _START not in runs:
        return budget_plot(runs)
    shown = {name: played for name, played in runs.items() if name not in FLOORS}
    plot = budget_plot(shown, {name: name.removesuffix(GREEDY) for name in shown if name.endswith(GREEDY)})
    return replace(plot, caption=f"{plot.caption} Floors are in the table.")


def examples(runs: Runs) -> list[Example]:
    """Return tasks that the start failed and the step-grained policy solved, then the first ones."""
    count = min(len(trajectories) for trajectories in runs.values())
    before, after = runs.get(_START), runs.get("steptool")
    chosen = list(range(count))
    if before and after:
        learnt = [i for i in chosen if not _passed(before[i]) and _passed(after[i])]
        chosen = learnt + [i for i in chosen if i not in learnt]
    shown = [name for name in (_START, "steptool", "final") if name in runs] or list(runs)
    return [
        Example(f"Task {runs[shown[0]][i].task.id}", [(name, runs[name][i]) for name in shown])
        for i in chosen[:_EXAMPLES]
    ]


def _curve(records: Sequence[Mapping[str, float]], name: str) -> Curve:
    points = [(record["calls"], record[name]) for record in records if name in record]
    return Curve([x for x, _ in points], [y for _, y in points])


def _passed(trajectory: Trajectory) -> bool:
    return bool(trajectory.metadata.get("outcome", {}).get("is_solved") == 1)
