"""The demonstration as a result file: the table of `steptool demo` and its learning curves.

python -m benchmarks.learning.demo
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from agents.commands.demo import play
from agents.demo.report import learning_curves
from agents.demo.run import SPLITS, Demo, DemoLearner, Outcome
from agents.evaluation.results import metrics_of, panel_of
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Options:
    """Run the demonstration and write its table. Example: python -m benchmarks.learning.demo --out results."""

    learner: DemoLearner = "text"
    """See `steptool demo`."""
    episodes: int = 200
    """Number of held-out tasks for every agent."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Folder of the demonstration's page and policies."""


def run(options: Options) -> Result:
    """Run the demonstration."""
    demo = Demo(options.runs, options.learner, episodes=options.episodes)
    outcome, seconds = play(demo, Console())
    name = "demo" if options.learner == "text" else f"demo_{options.learner}"
    tables = {"Agents on the same held-out tasks": [_row(*run, outcome) for run in outcome.runs.items()]}
    curves = {plot.title: plot.svg for plot in learning_curves(outcome.curves)}
    return Result(name, "The demonstration", tables, _notes(demo, outcome, seconds), curves)


def _row(name: str, played: Sequence[Trajectory], outcome: Outcome) -> Row:
    metrics = metrics_of(played)
    return {
        "agent": name,
        "episodes": int(metrics["episodes"]),
        "pass %": f"{100 * metrics['pass_rate']:.1f}",
        "standard error": f"{100 * metrics['pass_rate_se']:.1f}",
        "pass given finish %": _percent(metrics, "pass_given_finish"),
        "recall %": _percent(metrics, "recall"),
        "calls": f"{metrics['calls']:.2f}",
        "calls of training": outcome.calls.get(name),
    }


def _percent(metrics: Mapping[str, float], name: str) -> str | None:
    """Return a rate in percent; `None` for nan."""
    return None if metrics[name] != metrics[name] else f"{100 * metrics[name]:.1f}"


def _notes(demo: Demo, outcome: Outcome, seconds: float) -> list[str]:
    panels = sorted({panel_of(played) for played in outcome.runs.values()})
    return [
        f"tasks: splits {' and '.join(SPLITS)} of world {demo.world_seed}, equally many of each; tools over HTTP",
        f"panel {', '.join(panels)}",
        f"{seconds:.0f} s together",
    ]


if __name__ == "__main__":
    run_command("learning.demo", Options, run)
