"""`steptool report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from agents.evaluation.results import metrics_of, panel_of, read_held_out, read_judge, recorded_episodes
from agents.reporting.console import print_written
from agents.training.metrics_log import read_metrics
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.metrics import usable

if TYPE_CHECKING:
    from agents.reporting.runs import Run


@dataclass(frozen=True)
class Command:
    """Compare runs on one page: evaluations, trainings, or both.

    Example: steptool report runs/sft runs/steptool runs/final --out runs/comparison.html
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """Folders that `steptool evaluate`, `score` or `train` wrote. The name of a run is that of its folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("report.html")
    """Output file."""

    def run(self) -> dict[str, Any]:
        """Write the page. Return the metrics of the evaluations by run."""
        from agents.reporting.evaluation import panel_warning
        from agents.reporting.html import write_report
        from agents.reporting.runs import held_out_warning, runs_report

        if not self.runs:
            raise ConfigurationError("no run was given; give folders with trajectories.jsonl or metrics.jsonl")
        names = [folder.resolve().name for folder in self.runs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(f"two runs are called {', '.join(twice)}; rename a folder: names must differ")
        runs = [read_run(folder.resolve()) for folder in self.runs]
        page = runs_report(runs)
        played = {run.name: run.trajectories for run in runs if run.trajectories}
        warnings = list(filter(None, (panel_warning(played), held_out_warning(runs))))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        write_report(page, self.out)
        for warning in warnings:
            Console(stderr=True).print(warning, style="yellow", highlight=False)
        print_written(Console(), self.out, f"open {self.out} in a browser")
        metrics = {name: {"panel": panel_of(episodes), **metrics_of(episodes)} for name, episodes in played.items()}
        return {"out": self.out, "runs": metrics, "warnings": warnings}


def read_run(folder: Path) -> Run:
    """Return the run in a folder. Raises `DataError` for one without `trajectories.jsonl` and `metrics.jsonl`."""
    from agents.reporting.runs import Run

    episodes = recorded_episodes(folder) if (folder / "trajectories.jsonl").is_file() else []
    records = read_metrics(folder) if (folder / "metrics.jsonl").is_file() else []
    if not episodes and not records:
        raise DataError(f"{folder}: holds no run; it should have trajectories.jsonl or metrics.jsonl")
    return Run(folder.name, usable(episodes), records, read_held_out(folder), read_judge(folder))
