"""Writes what an evaluation leaves behind, and says what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.evaluation.results import metrics_of, panel_of, write_metrics, write_run
from steptool_env.errors import ToolTransportError
from steptool_env.types import Trajectory

_SHOWN = ("pass_rate", "pass_given_finish", "finish_rate", "recall", "precision", "calls", "invalid_call_rate")


def write_outputs(
    out: Path, title: str, subtitle: str, trajectories: Sequence[Trajectory], run: Mapping[str, Any]
) -> None:
    """Write metrics.json, run.json and report.html beside the trajectories, and print the main metrics.

    Raises:
        ToolTransportError: After writing: there is no metric, because every episode was lost to the tool server.
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
    lost = [t.metadata["transport_error"] for t in trajectories if "transport_error" in t.metadata]
    if lost and len(lost) == len(trajectories):
        raise ToolTransportError(f"every episode was lost to the tool server: {lost[0]}")
    if lost:
        console.print(f"{len(lost)} of {len(trajectories)} episodes were lost to the tool server and do not count")
    console.print(", ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN if not isnan(metrics[name])))
    console.print(f"panel {panel}", highlight=False)
    console.print(f"wrote {out}")


def reports_available() -> bool:
    """Whether the extra `report` is installed (the server image leaves it out)."""
    return all(find_spec(module) is not None for module in ("jinja2", "matplotlib"))
