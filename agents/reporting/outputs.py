"""Output folder of an evaluation: result files, report and printed summary."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import isnan, nan
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from agents.evaluation.results import defined, judge_of, metrics_of, panel_of, write_metrics, write_run
from agents.reporting.console import print_written
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.metrics import HIGH, LOW
from steptool_env.types import Trajectory

_SHOWN = (
    *("pass_rate", "pass_given_finish", "finish_rate", "recall", "precision", "needed_calls", "calls"),
    "invalid_call_rate",
)
_ELSEWHERE = ("settings", "evaluation", "training")  # parts of the first two are shown
_EVALUATION = ("env_id", "seed")  # the rest of it is in the settings

EVALUATED = ("run.json", "trajectories.jsonl")
"""Files of an evaluation that no demonstration writes."""
_RESULTS = (*EVALUATED, "result.json", "report.html")
_SERVER = "the tool server"


def check_unused(out: Path, names: Sequence[str] = _RESULTS) -> None:
    """Raise `ConfigurationError` for a folder that holds a result: by default of an evaluation or a demonstration."""
    found = next((path for name in names if (path := out / name).is_file() and path.stat().st_size), None)
    if found is not None:
        raise ConfigurationError(
            f"{out} holds the result of another run ({found.name}); give another --out, or remove that folder to run "
            "again"
        )


def check_empty(out: Path) -> None:
    """Raise `ConfigurationError` unless a folder is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is not an empty folder; give another name")


def write_outputs(
    out: Path, subtitle: str, trajectories: Sequence[Trajectory], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Write metrics.json, run.json and report.html beside the trajectories, and print the main metrics.

    Returns folder, panel and all metrics.

    Args:
        out: Folder of the run, whose name is the report's title.
        subtitle: Line below the title.
        trajectories: All episodes.
        run: Settings of the run, in groups by name; `run_facts` shows them.

    Raises:
        ToolTransportError: After writing: every episode was lost to the tool server, so no metric is defined.
    """
    console = Console()
    metrics, panel = metrics_of(trajectories), panel_of(trajectories)
    write_metrics(metrics, out / "metrics.json", panel)
    suites = sorted({trajectory.task.suite for trajectory in trajectories})
    judge = judge_of(run)
    described = write_run({**run, "suites": suites, "judge": judge}, out / "run.json")
    if reports_available():
        from agents.reporting.evaluation import evaluation_report
        from agents.reporting.html import write_report

        page = evaluation_report(out.resolve().name, subtitle, trajectories, run_facts(described), judge)
        write_report(page, out / "report.html")
    else:
        console.print("no report.html: it needs the extra `report` (pip install 'steptool-env\\[report]')")
    all_lost = not any("transport_error" not in trajectory.metadata for trajectory in trajectories)
    for culprit, reasons in _lost(trajectories).items():
        if all_lost:
            raise ToolTransportError(f"every episode was lost to {culprit}: {reasons[0]}")
        console.print(f"{len(reasons)} of {len(trajectories)} episodes were lost to {culprit} and do not count")
        if culprit != _SERVER:
            console.print(f"  the last time: {reasons[-1]}", highlight=False, markup=False)
    for name in _SHOWN:
        if not isnan(metrics[name]):
            console.print(f"{name} {metrics[name]:.3f}{_interval(metrics, name)}", highlight=False)
    console.print(f"panel {panel}", highlight=False)
    look = f"open {out / 'report.html'} in a browser; " if reports_available() else ""
    compare = f"steptool report {quote(str(out))} OTHER --out comparison.html"
    print_written(console, out, f"{look}compare with other runs: {compare}")
    return {"out": out, "panel": panel, **defined(metrics)}


def run_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what run.json says, a label and a text each; a group becomes one text such as `level lite, tools 26`."""
    facts: list[tuple[str, str]] = []
    evaluation = {name: value for name, value in run.get("evaluation", {}).items() if name in _EVALUATION}
    for name, value in {**run, **evaluation, **run.get("settings", {})}.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {each}" for key, each in value.items() if each not in (None, "", [], {}))
        elif isinstance(value, list | tuple):
            value = " ".join(map(str, value))
        if name not in _ELSEWHERE and value != "":
            facts.append((name.replace("_", " "), str(value)))
    return facts


def _interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = metrics.get(name + LOW, nan), metrics.get(name + HIGH, nan)
    return "" if isnan(low) else f" (95 %: {low:.3f} to {high:.3f})"


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
