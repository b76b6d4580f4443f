"""Output folder of an evaluation: result files, report and printed summary."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.evaluation.results import metrics_of, panel_of, write_metrics, write_run
from agents.reporting.console import print_written
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.types import Trajectory

_SHOWN = ("pass_rate", "pass_given_finish", "finish_rate", "recall", "precision", "calls", "invalid_call_rate")

_SERVER = "the tool server"


def check_unused(out: Path) -> None:
    """Raise `ConfigurationError` for a folder that holds the result of an evaluation."""
    episodes = out / "trajectories.jsonl"
    if (out / "run.json").exists() or (episodes.is_file() and episodes.stat().st_size):
        raise ConfigurationError(
            f"{out} holds the result of another run; give another --out, or remove that folder to run again"
        )


def write_outputs(
    out: Path, title: str, subtitle: str, trajectories: Sequence[Trajectory], run: Mapping[str, Any]
) -> None:
    """Write metrics.json, run.json and report.html beside the trajectories, and print the main metrics.

    Raises:
        ToolTransportError: After writing: every episode was lost to the tool server, so no metric is defined.
    """
    console = Console()
    metrics, panel = metrics_of(trajectories), panel_of(trajectories)
    write_metrics(metrics, out / "metrics.json", panel)
    suites = sorted({trajectory.task.suite for trajectory in trajectories})
    subtitle = f"{subtitle} Tasks of {', '.join(suites)}."
    write_run({**run, "suites": suites}, out / "run.json")
    if reports_available():
        from agents.reporting.evaluation import evaluation_report
        from agents.reporting.html import write_report

        write_report(evaluation_report(title, subtitle, trajectories), out / "report.html")
    else:
        console.print("no report.html: it needs the extra `report` (pip install 'steptool-env\\[report]')")
    all_lost = not any("transport_error" not in trajectory.metadata for trajectory in trajectories)
    for culprit, reasons in _lost(trajectories).items():
        if all_lost:
            raise ToolTransportError(f"every episode was lost to {culprit}: {reasons[0]}")
        console.print(f"{len(reasons)} of {len(trajectories)} episodes were lost to {culprit} and do not count")
        if culprit != _SERVER:
            console.print(f"  the last time: {reasons[-1]}", highlight=False, markup=False)
    console.print(", ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN if not isnan(metrics[name])))
    console.print(f"panel {panel}", highlight=False)
    look = f"open {out / 'report.html'} in a browser; " if reports_available() else ""
    print_written(console, out, f"{look}compare with other runs: steptool report {out} OTHER --out comparison.html")


def _lost(trajectories: Sequence[Trajectory]) -> dict[str, list[str]]:
    """Return the reasons of the episodes that do not count, by what lost them."""
    reasons: dict[str, list[str]] = {}
    for metadata in (trajectory.metadata for trajectory in trajectories):
        if "transport_error" in metadata:
            culprit = "the agent" if "agent_error" in metadata else _SERVER
            reasons.setdefault(culprit, []).append(metadata["transport_error"])
    return reasons


def reports_available() -> bool:
    """Return true if the extra `report` is installed (the server image leaves it out)."""
    return all(find_spec(module) is not None for module in ("jinja2", "matplotlib"))
