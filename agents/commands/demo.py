"""`steptool demo`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table as View

from agents.demo import Demo, run_demo, write_page
from agents.evaluation_report import comparison
from agents.results import defined, metrics_of


@dataclass(frozen=True)
class Command:
    """Start a tool server, run agents against it through gym.make, and compare them.

    Writes result.json (every metric of every agent) and report.html to the folder of --out.

    Example: steptool demo --episodes 50 --out runs/demo
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Folder for the results; it is made."""
    episodes: int = 100
    """Tasks for every agent."""
    world_seed: int = 0
    """Seed of the world."""

    def run(self) -> None:
        """Run the demonstration, print the table and write the page."""
        console = Console()
        demo = Demo(episodes=self.episodes, world_seed=self.world_seed)
        started = time.perf_counter()
        runs = run_demo(demo, console.print)
        seconds = time.perf_counter() - started
        calls = sum(len(trajectory.steps) for trajectories in runs.values() for trajectory in trajectories)
        result = {name: defined(metrics_of(trajectories)) for name, trajectories in runs.items()}
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result | {"env_calls": calls, "seconds": round(seconds, 1)}, indent=2)
        (self.out / "result.json").write_text(text + "\n", encoding="utf-8")
        write_page(demo, runs, self.out / "report.html")
        table = comparison(runs)
        view = View(*table.columns, title=f"{calls} calls in {seconds:.0f} s")
        for row in table.rows:
            view.add_row(*row)
        console.print(view)
        console.print(f"wrote {self.out / 'report.html'} and {self.out / 'result.json'}")
