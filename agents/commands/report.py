"""`steptool report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from agents.reporting.evaluation import panel_warning
from agents.reporting.html import write_report
from agents.reporting.runs import held_out_warning, read_run, runs_report
from steptool_env.errors import ConfigurationError


@dataclass(frozen=True)
class Command:
    """Compare runs on one page: evaluations, trainings, or both.

    Example: steptool report runs/sft runs/steptool runs/final --out runs/comparison.html
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """Folders that `steptool evaluate`, `score` or `train` wrote. A run is called after its folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("report.html")
    """Where to write the page."""

    def run(self) -> None:
        """Write the page."""
        if not self.runs:
            raise ConfigurationError("no run was given; give folders with trajectories.jsonl or metrics.jsonl")
        names = [folder.resolve().name for folder in self.runs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(
                f"two runs are called {', '.join(twice)}; rename a folder, the page tells them apart by name"
            )
        runs = [read_run(folder.resolve()) for folder in self.runs]
        page = runs_report(runs)
        warnings = (
            panel_warning({run.name: run.trajectories for run in runs if run.trajectories}),
            held_out_warning(runs),
        )
        self.out.parent.mkdir(parents=True, exist_ok=True)
        write_report(page, self.out)
        console = Console()
        for warning in filter(None, warnings):
            console.print(warning, style="yellow", highlight=False)
        console.print(f"wrote {self.out}")
