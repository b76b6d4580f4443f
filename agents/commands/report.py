"""`steptool report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from agents.evaluation.results import metrics_of, panel_of, read_held_out, read_judge, recorded_episodes
from agents.reporting.console import print_table, print_written
from agents.training.metrics_log import read_metrics
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.metrics import usable

if TYPE_CHECKING:
    from agents.reporting.run_groups import Run


@dataclass(frozen=True)
class Command:
    """Compare runs on one page: evaluations, trainings, or both.

    Example: steptool report runs/random runs/greedy

    Example: steptool report runs/sft runs/steptool runs/final --out runs/comparison.html
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """Folders that `steptool evaluate`, `score` or `train` wrote. The name of a run is that of its folder, after that
    of a folder above it where two have one name. Runs whose settings differ by the seed alone also get a row with their
    mean over seeds and its bootstrap interval."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("report.html")
    """Output file, whose name ends in .html."""

    def run(self) -> dict[str, Any]:
        """Write the page and print its tables. Return the metrics of the evaluations by run, and of groups of seeds."""
        from agents.reporting.evaluation import panel_warning
        from agents.reporting.html import write_report
        from agents.reporting.run_groups import played_metrics, seed_groups, trained_metrics
        from agents.reporting.runs import held_out_warning, run_tables, runs_report

        if not self.runs:
            raise ConfigurationError("no run was given; give folders with trajectories.jsonl or metrics.jsonl")
        if self.out.suffix != ".html":  # never the file of a run
            raise ConfigurationError(f"out={self.out}: is the file of a page; give a name that ends in .html")
        runs = [read_run(folder, name) for folder, name in run_names(self.runs).items()]
        page = runs_report(runs)
        played = {run.name: run.trajectories for run in runs if run.trajectories}
        warnings = list(filter(None, (panel_warning(played), held_out_warning(runs))))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        write_report(page, self.out)
        console = Console()
        for table in run_tables(runs, brief=True):
            print_table(console, table.columns, table.rows, table.title, table.note)
        for warning in warnings:
            Console(stderr=True).print(warning, style="yellow", highlight=False)
        print_written(console, self.out, f"open {self.out} in a browser")
        metrics = {name: {"panel": panel_of(episodes), **metrics_of(episodes)} for name, episodes in played.items()}
        means = {
            group.name: {
                "runs": [run.name for run in group.runs],
                "seeds": group.seeds,
                "left_out": [run.name for run in group.left_out],
                **group.estimates(played_metrics if group.runs[0].trajectories else trained_metrics),
            }
            for group in seed_groups(runs)
        }
        return {"out": self.out, "runs": metrics, "means_over_seeds": means, "warnings": warnings}


def run_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return the names of runs: that of the folder, where two have one name after that of a folder above.

    Raises:
        ConfigurationError: A folder was given twice.
    """
    paths = [folder.resolve() for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigurationError(f"{path}: is given twice; give each run once")
    names = {}
    for path in paths:
        namesakes = [other for other in paths if other.name == path.name]
        deep = min(len(other.parts) for other in namesakes)
        apart = (d for d in range(2, deep + 1) if len({other.parts[-d] for other in namesakes}) == len(namesakes))
        above = next(apart, 0) if len(namesakes) > 1 else 1
        names[path] = path.name if above == 1 else f"{path.parts[-above]}/{path.name}" if above else str(path)
    return names


def read_run(folder: Path, name: str = "") -> Run:
    """Return the run in a folder, by default under the folder's name.

    Raises:
        DataError: The folder has no `trajectories.jsonl` and no `metrics.jsonl`.
    """
    from agents.evaluation.run_settings import read_run_settings, read_training
    from agents.reporting.run_groups import Run

    episodes = recorded_episodes(folder) if (folder / "trajectories.jsonl").is_file() else []
    records = read_metrics(folder) if (folder / "metrics.jsonl").is_file() else []
    if not episodes and not records:
        raise DataError(f"{folder}: holds no run; it should have trajectories.jsonl or metrics.jsonl")
    config = read_training(folder) if records else {}
    return Run(
        name or folder.name,
        usable(episodes),
        records,
        read_held_out(folder),
        read_judge(folder),
        read_run_settings(folder),
        _count(config, "eval_episodes", folder),
        _count(config, "calls", folder),
    )


def _count(config: Mapping[str, Any], name: str, folder: Path) -> int:
    """Return a number of the settings of a training; 0 without it."""
    value = config.get(name) or 0
    if type(value) is not int or value < 0:
        raise DataError(
            f"{folder}: the settings of its training have {name}={value!r:.60}, which must be a whole number"
        )
    return value
