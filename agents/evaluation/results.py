"""What an evaluation leaves behind: metrics.json and run.json."""

from __future__ import annotations

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
    """Every metric, flat. `pass_at_budget_<n>` for every budget up to the environment's; see `docs/evaluation.md`.

    `sample` is there, and 1, for tasks of the sample of StableToolBench: such figures say nothing about the whole.
    """
    counted = usable(trajectories)
    results = [result_of(trajectory) for trajectory in counted]
    budgets = {f"pass_at_budget_{budget}": pass_at_budget(results, budget) for budget in budgets_of(counted)}
    sample = {"sample": 1.0} if any(is_sample(trajectory.task.suite) for trajectory in trajectories) else {}
    return summarize(results) | {"transport_errors": len(trajectories) - len(counted)} | budgets | sample


def panel_of(trajectories: Sequence[Trajectory]) -> str:
    """The panel digest: BLAKE2b (8 bytes, hexadecimal) over the ids and queries of the tasks that count.

    Two results with the same panel speak of the same tasks, in whatever order they were played.
    """
    return panel_digest(trajectory.task for trajectory in usable(trajectories))


def panel_digest(tasks: Iterable[Task]) -> str:
    """See `panel_of`."""
    named = sorted({(task.id, task.query) for task in tasks})
    return blake2b(json.dumps(named).encode(), digest_size=8).hexdigest()


def budgets_of(trajectories: Sequence[Trajectory]) -> range:
    """1 up to the call budget that the episodes ran under (of recorded ones without a budget: the longest)."""
    return range(1, 1 + max((t.metadata.get("call_budget", len(t.steps)) for t in trajectories), default=0))


def defined(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """The metrics as JSON has them: six decimals, and `None` for what is not defined (nan)."""
    return {name: None if isnan(value) else round(value, 6) for name, value in metrics.items()}


def write_metrics(metrics: Mapping[str, float], path: Path, panel: str) -> None:
    """Write flat JSON: the metrics and the `panel` that they are about."""
    path.write_text(json.dumps({"panel": panel, **defined(metrics)}, indent=2) + "\n", encoding="utf-8")


def write_run(run: Mapping[str, Any], path: Path) -> None:
    """Write how the run was made: what is needed to make it again."""
    described = {"command": " ".join(sys.argv), "version": version("steptool-env"), **run}
    path.write_text(json.dumps(described, indent=2, default=str) + "\n", encoding="utf-8")


_HELD_OUT = "held_out.json"


def write_held_out(folder: Path, panel: str) -> None:
    """Write the panel that the evaluations of a training are about."""
    (folder / _HELD_OUT).write_text(json.dumps({"panel": panel}, indent=2) + "\n", encoding="utf-8")


def read_held_out(folder: Path) -> str:
    """The panel that the evaluations of a training are about; empty where none was written."""
    path = folder / _HELD_OUT
    return str(json.loads(path.read_text(encoding="utf-8"))["panel"]) if path.is_file() else ""
