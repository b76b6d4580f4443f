"""Metrics of an evaluation and its result files: metrics.json and run.json."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

from steptool_env.metrics import pass_at_budget, result_of, summarize, usable
from steptool_env.suites.sample import is_sample
from steptool_env.types import Task, Trajectory


def metrics_of(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return all metrics by name, with `pass_at_budget_<n>` for every budget; see `docs/evaluation.md`.

    `sample` is 1 for tasks of the sample of StableToolBench, whose figures do not represent the benchmark.
    """
    counted = usable(trajectories)
    results = [result_of(trajectory) for trajectory in counted]
    budgets = {f"pass_at_budget_{budget}": pass_at_budget(results, budget) for budget in budgets_of(counted)}
    failed = sum("agent_error" in trajectory.metadata for trajectory in trajectories)
    lost = {"transport_errors": len(trajectories) - len(counted) - failed, "agent_errors": failed}
    sample = {"sample": 1.0} if any(is_sample(trajectory.task.suite) for trajectory in trajectories) else {}
    return summarize(results) | lost | budgets | sample


def panel_of(trajectories: Sequence[Trajectory]) -> str:
    """Return the panel digest: BLAKE2b (8 bytes, hexadecimal) over the ids and queries of the counted tasks.

    Results with equal panels are about the same tasks, in any order.
    """
    return panel_digest(trajectory.task for trajectory in usable(trajectories))


def panel_digest(tasks: Iterable[Task]) -> str:
    """See `panel_of`."""
    named = sorted({(task.id, task.query) for task in tasks})
    return blake2b(json.dumps(named).encode(), digest_size=8).hexdigest()


def budgets_of(trajectories: Sequence[Trajectory]) -> range:
    """Return 1 to the call budget of the episodes (of recordings without a budget: the longest episode)."""
    return range(1, 1 + max((t.metadata.get("call_budget", len(t.steps)) for t in trajectories), default=0))


def defined(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics as JSON values: six decimals, `None` for nan."""
    return {name: None if isnan(value) else round(value, 6) for name, value in metrics.items()}


def write_metrics(metrics: Mapping[str, float], path: Path, panel: str) -> None:
    """Write the metrics and their `panel` as flat JSON."""
    path.write_text(json.dumps({"panel": panel, **defined(metrics)}, indent=2) + "\n", encoding="utf-8")


def write_run(run: Mapping[str, Any], path: Path) -> None:
    """Write command, version and settings of a run."""
    described = {"command": " ".join(sys.argv), "version": version("steptool-env"), **run}
    path.write_text(json.dumps(described, indent=2, default=str) + "\n", encoding="utf-8")


_HELD_OUT = "held_out.json"


def write_held_out(folder: Path, panel: str) -> None:
    """Write the panel of a training's evaluations."""
    (folder / _HELD_OUT).write_text(json.dumps({"panel": panel}, indent=2) + "\n", encoding="utf-8")


def read_held_out(folder: Path) -> str:
    """Return the panel of a training's evaluations; empty where none was written."""
    path = folder / _HELD_OUT
    return str(json.loads(path.read_text(encoding="utf-8"))["panel"]) if path.is_file() else ""
