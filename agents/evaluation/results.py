"""Metrics of an evaluation and its result files: metrics.json and run.json."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

from agents.options import without_keys
from steptool_env.benchmarks import BENCHMARKS
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.metrics import calls_of, pass_at_budget, result_of, summarize, usable
from steptool_env.stabletoolbench.sample import is_sample
from steptool_env.toolworld import read_task_id
from steptool_env.toolworld.suite import make_suite
from steptool_env.trajectories.recordings import read_recordings
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


def judge_of(run: Mapping[str, Any]) -> str:
    """Return the judge of a run by the content of its run.json, such as `rules` or `llm m (tooleval)`.

    Without an option `judge` it is that of the environment; empty for an environment that is not known.
    """
    options: Mapping[str, Any] = run.get("settings", {}).get("reward", {})
    name = options.get("judge")
    if name is None:
        environment = str(run.get("evaluation", {}).get("env_id", ""))
        return next((each.judge for each in BENCHMARKS if each.name in environment), "")
    if name == "llm":
        return f"llm {options.get('model', '')} ({options.get('verdict', 'steps')})"
    return f"recorded, else {options.get('fallback', 'rules')}" if name == "recorded" else str(name)


def read_judge(folder: Path) -> str:
    """Return the judge of the run in a folder, see `judge_of`; empty without run.json."""
    run = read_run_record(folder)
    return judge_of(run) if run else ""


_GROUPS = {"settings": ("reward", "suite"), "evaluation": ("env_kwargs",), "training": ("settings",)}
"""Groups of settings in run.json, and the groups in each."""


def read_run_record(folder: Path) -> dict[str, Any]:
    """Return the content of run.json in a folder, without groups of settings that are null; empty without the file.

    Raises:
        DataError: The file or a group of settings in it is no JSON object.
    """
    path = folder / "run.json"
    run = read_object(path)
    for name, parts in _GROUPS.items():
        group = _group(path, name, run)
        for part in parts:
            _group(path, part, group)
    return run


def _group(path: Path, name: str, of: dict[str, Any]) -> dict[str, Any]:
    if of.get(name) is None:
        of.pop(name, None)
    group = of.get(name, {})
    if not isinstance(group, dict):
        raise DataError(f"{path}: {name} must be a JSON object, not {group!r:.80}; correct or remove the file")
    return group


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty where there is no file. Raises `DataError` for another content."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); correct or remove it") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: must hold a JSON object; correct or remove it")
    return value


def recorded_share(trajectories: Sequence[Trajectory]) -> tuple[int, int]:
    """Return the numbers of episodes with a recorded judgement and with one of another judge."""
    marks = [t.metadata.get("outcome", {}).get("is_recorded") for t in usable(trajectories)]
    return sum(mark == 1 for mark in marks), sum(mark == 0 for mark in marks)


_LARGEST_BUDGET = 1_000
"""Call budget beyond which only budgets of as many calls as were made are of interest: a larger one means no limit."""


def budgets_of(trajectories: Sequence[Trajectory]) -> range:
    """Return 1 to the call budget of the episodes, at most 1,000, and to the most calls of one, searches included."""
    budgets = (max(min(t.metadata.get("call_budget", 0), _LARGEST_BUDGET), calls_of(t)) for t in trajectories)
    return range(1, 1 + max(budgets, default=0))


def defined(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics as JSON values: six decimals, `None` for nan."""
    return {name: None if isnan(value) else round(value, 6) for name, value in metrics.items()}


def write_metrics(metrics: Mapping[str, float], path: Path, panel: str) -> None:
    """Write the metrics and their `panel` as flat JSON."""
    path.write_text(json.dumps({"panel": panel, **defined(metrics)}, indent=2) + "\n", encoding="utf-8")


def write_run(run: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Write command, version, date and settings of a run, without API keys. Return them as JSON values."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    described = {"command": " ".join(sys.argv), "version": version("steptool-env"), "date": date, **run}
    public: dict[str, Any] = without_keys(json.loads(json.dumps(described, default=str)))
    path.write_text(json.dumps(public, indent=2) + "\n", encoding="utf-8")
    return public


_HELD_OUT = "held_out.json"


def write_held_out(folder: Path, panel: str) -> None:
    """Write the panel of a training's evaluations."""
    (folder / _HELD_OUT).write_text(json.dumps({"panel": panel}, indent=2) + "\n", encoding="utf-8")


def read_held_out(folder: Path) -> str:
    """Return the panel of a training's evaluations; empty where none was written."""
    return str(read_object(folder / _HELD_OUT).get("panel", ""))


def recorded_episodes(path: Path) -> list[Trajectory]:
    """Return the episodes of a recorded run, and make the suites of ToolWorld that find their tasks.

    A task id has only a digest of settings other than the defaults, so these are taken from `run.json` in the folder of
    the episodes. For errors see `steptool_env.trajectories.recordings.read_recordings`.
    """
    episodes = read_recordings(path)
    run = read_run_record(path if path.is_dir() else path.parent)
    settings = run.get("settings", {}).get("suite") or run.get("evaluation", {}).get("env_kwargs", {})
    for family in dict.fromkeys(episode.task.id.rpartition("-")[0] for episode in episodes):
        try:
            seed, level, split, _ = read_task_id(f"{family}-0")
            make_suite({**settings, "split": split.partition(".")[0], "level": level, "world_seed": seed})
        except ConfigurationError:
            continue  # tasks of another benchmark, or of settings that were not recorded
    return episodes
