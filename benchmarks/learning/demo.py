"""The demonstration over several seeds as a result file: the tables of `steptool demo` and its learning curves.

python -m benchmarks.learning.demo
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from agents.commands.demo import play
from agents.demo.report import learning_curves
from agents.demo.run import BEST, GREEDY, Demo, DemoLearner, Outcome, by_depth
from agents.evaluation.results import metrics_of, panel_of
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Options:
    """Run the demonstration and write its tables. Example: python -m benchmarks.learning.demo --seeds 3."""

    learner: DemoLearner = "text"
    """See `steptool demo`."""
    seeds: int = 3
    """Number of seeds of training."""
    calls: int = 0
    """Environment calls of training for each policy; 0 takes those of the configuration."""
    episodes: int = 150
    """Number of held-out tasks for every agent."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo-seeds")
    """Folder with the page and the policies of each seed."""


def run(options: Options) -> Result:
    """Run the demonstration once per seed, of an agent that learns nothing only once."""
    outcomes: list[tuple[Outcome, float]] = []
    for seed in range(options.seeds if options.learner == "text" else 1):
        demo = Demo(options.runs / str(seed), options.learner, False, options.calls, options.episodes, seed)
        outcome, record = play(demo, Console())
        outcomes.append((outcome, record["seconds"]))
    tables: dict[str, Sequence[Row]] = {
        f"Agents, seed {seed}": [_row(*run, outcome) for run in outcome.runs.items()]
        for seed, (outcome, _) in enumerate(outcomes)
    }
    if options.learner == "text":
        tables = {"Gain over the start at its best temperature, points": _gains(outcomes), **tables}
    curves = {
        f"{plot.title}, seed {seed}": plot.svg
        for seed, (outcome, _) in enumerate(outcomes)
        for plot in learning_curves(outcome)
    }
    return Result("demo", "The demonstration", tables, _notes(outcomes), curves)


def _gains(outcomes: Sequence[tuple[Outcome, float]]) -> list[Row]:
    """Return the difference of each arm's greedy pass rate to the start's at its best temperature, by panel."""
    rows: list[Row] = []
    for seed, (outcome, _) in enumerate(outcomes):
        best = _rates(outcome.runs[BEST])
        for arm in outcome.curves:
            gains = {panel: 100 * (rate - best[panel]) for panel, rate in _rates(outcome.runs[arm + GREEDY]).items()}
            rows.append({"arm": arm + GREEDY, "seed": seed, **{name: f"{gain:+.1f}" for name, gain in gains.items()}})
    return rows


def _rates(played: Sequence[Trajectory]) -> dict[str, float]:
    parts = {**by_depth(played), "all": list(played)}
    return {name: metrics_of(part)["pass_rate"] for name, part in parts.items()}


def _row(name: str, played: Sequence[Trajectory], outcome: Outcome) -> Row:
    metrics = metrics_of(played)
    return {
        "agent": name,
        "temperature": outcome.temperature if name == BEST else None,
        "episodes": int(metrics["episodes"]),
        **{f"{panel} %": f"{100 * rate:.1f}" for panel, rate in _rates(played).items()},
        "pass given finish %": _percent(metrics, "pass_given_finish"),
        "mean over families %": _percent(metrics, "pass_rate_families"),
        "families solved": f"{metrics['families_solved']:.0f} of {metrics['families']:.0f}",
        "recall %": _percent(metrics, "recall"),
        "calls": f"{metrics['calls']:.2f}",
        "calls of training": outcome.calls.get(name.removesuffix(GREEDY)),
    }


def _percent(metrics: Mapping[str, float], name: str) -> str | None:
    """Return a rate in percent; `None` for nan."""
    return None if metrics[name] != metrics[name] else f"{100 * metrics[name]:.1f}"


def _notes(outcomes: Sequence[tuple[Outcome, float]]) -> list[str]:
    panels = sorted({panel_of(played) for outcome, _ in outcomes for played in outcome.runs.values()})
    seconds = ", ".join(f"{seconds:.0f}" for _, seconds in outcomes)
    return [
        "tasks: held-out tasks of the trained depths, equally many of each; tools over HTTP; temperatures chosen on "
        "validation tasks",
        f"panel {', '.join(panels)}",
        f"seconds by seed: {seconds}",
    ]


if __name__ == "__main__":
    run_command("learning.demo", Options, run)
