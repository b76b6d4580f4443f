"""`steptool demo`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as View

from agents.demo.report import write_page
from agents.demo.run import SPLITS, Demo, Outcome, run_demo
from agents.evaluation.results import defined, metrics_of, panel_of
from agents.reporting.console import print_written
from agents.reporting.evaluation import comparison


@dataclass(frozen=True)
class Command(Demo):
    """Train policies against a tool server, in minutes on a laptop, and compare them with their start.

    One start is trained twice with the same number of environment calls: with a reward for every step (`steptool`)
    and with the final reward alone (`final`). Then both, the start, floors and the oracle are evaluated on the same
    held-out tasks. Writes result.json (every metric of every agent) and report.html (learning curves and episodes,
    before and after) to the folder of --out.

    Example: steptool demo --out runs/demo
    """

    def run(self) -> None:
        """Run the demonstration, print the table and write the page."""
        console = Console()
        outcome, seconds = play(self, console)
        table = comparison(outcome.runs)
        view = View(*table.columns, title=_title(outcome, seconds), caption=table.note)
        for row in table.rows:
            view.add_row(*row)
        console.print(view)
        page = self.out / "report.html"
        trained = f"; steptool report {' '.join(str(self.out / name) for name in outcome.curves)}"
        print_written(
            console,
            f"{page} and {self.out / 'result.json'}",
            f"open {page} in a browser{trained if outcome.curves else ''}",
        )


def play(demo: Demo, console: Console) -> tuple[Outcome, float]:
    """Run a demonstration and write result.json and report.html to its folder. Return its outcome and seconds."""
    demo.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcome = run_demo(demo, console.print)
    seconds = time.perf_counter() - started
    text = json.dumps(_result(outcome, seconds), indent=2)
    (demo.out / "result.json").write_text(text + "\n", encoding="utf-8")
    splits = " and ".join(SPLITS)
    subtitle = f"{demo.episodes} held-out tasks ({splits}; world {demo.world_seed}), tools over HTTP."
    write_page(subtitle, outcome.runs, outcome.curves, demo.out / "report.html")
    return outcome, seconds


def _result(outcome: Outcome, seconds: float) -> dict[str, Any]:
    """Return every metric of every agent, training calls by policy and their maximum, and the total seconds."""
    metrics = {
        name: {"panel": panel_of(played), **defined(metrics_of(played))} for name, played in outcome.runs.items()
    }
    return {
        **metrics,
        "training_calls": outcome.calls,
        "env_calls": max(outcome.calls.values(), default=0),
        "seconds": round(seconds, 1),
    }


def _title(outcome: Outcome, seconds: float) -> str:
    calls = ", ".join(f"{name} {count}" for name, count in outcome.calls.items())
    return f"{seconds:.0f} s" + (f"; calls of training: {calls}" if calls else "")
