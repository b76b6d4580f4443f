"""Run folders: discovery, and the summary of each run for the table of runs."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal

from agents.evaluation.results import read_held_out, read_object
from agents.evaluation.run_settings import read_training, training_digest
from agents.training.metrics_log import TRAINING_EPISODES, read_metrics
from steptool_env.benchmarks import benchmark_of_env
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.metrics import wilson_interval

State = Literal["planned", "running", "finished", "stopped"]

METRICS = "metrics.jsonl"
EPISODES = ("trajectories.jsonl", TRAINING_EPISODES)
"""Names of trajectory files; the first that a folder has is shown."""
_SETTINGS = ("run.json", "plan.json", "config.yaml", "settings.yaml", "metrics.json", "held_out.json", "result.json")
_SKIPPED = ("checkpoint-", ".", "policy")  # first letters of folders that hold weights and no run
_QUIET_SECONDS = 120.0  # a run that is not complete and writes nothing for so long counts as stopped
_RECENT = 5  # iterations that the speed is a mean of

_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""Errors that a file of an unexpected form causes."""

_JUDGED = ("steptool", "final")


@dataclass(frozen=True)
class RunInfo:
    """Summary of one run folder.

    Attributes:
        name: Path of the folder, from the name of the given folder on; unique.
        folder: The folder.
        arm: Algorithm of a training, or agent of an evaluation.
        seed: Random seed, as text; empty if unknown.
        env_id: Id of the environment; empty where no settings file names one.
        env_args: Arguments of the environment in which the run's episodes are played.
        split: Split or suite of the tasks.
        reward: Name of the reward.
        judge: Name of the judge; empty for rewards without one.
        panel: Panel digest of the evaluated tasks.
        calls: Environment calls so far.
        budget: Environment calls of the whole run; 0 if unknown.
        episodes: Number of episodes of which `passed` is the share.
        passed: Latest pass rate, 0 to 1; nan without one.
        metric: Name of the metric of `passed`.
        state: State of the run.
        phase: Phase of the run, as text.
        calls_per_second: Mean speed of the last iterations; nan if unknown.
        seconds_left: Estimated time to the end in seconds; nan if unknown.
        problem: Error in a file of the run; empty otherwise.
        episodes_file: Trajectory file of the folder; `None` without one.
        has_metrics: True if the folder has a metrics file.
        settings_digest: Digest of the settings of a training without its seed: runs with equal ones differ by chance.
    """

    name: str
    folder: Path
    arm: str = ""
    seed: str = ""
    env_id: str = ""
    env_args: Mapping[str, Any] = field(default_factory=dict)
    split: str = ""
    reward: str = ""
    judge: str = ""
    panel: str = ""
    calls: int = 0
    budget: int = 0
    episodes: int = 0
    passed: float = nan
    metric: str = ""
    state: State = "planned"
    phase: str = ""
    calls_per_second: float = nan
    seconds_left: float = nan
    problem: str = ""
    episodes_file: Path | None = None
    has_metrics: bool = False
    settings_digest: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `passed` by Wilson; nan without episodes."""
        return wilson_interval(self.passed, 0 if isnan(self.passed) else self.episodes)


class RunFolders:
    """Runs under some folders. `scan` reads again the runs whose files have changed.

    Args:
        roots: Folders; each may be a run or hold runs at any depth.

    Raises:
        ConfigurationError: A folder does not exist.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        for root in roots:
            if not root.is_dir():
                raise ConfigurationError(f"RUNS={str(root)!r}: no such folder; give folders that hold runs")
        self._roots = [root.resolve() for root in roots]
        self._read: dict[Path, tuple[tuple[object, ...], RunInfo]] = {}

    def scan(self) -> dict[str, RunInfo]:
        """Return the runs by name, sorted. A run whose files cannot be read has a `problem`."""
        found: dict[str, RunInfo] = {}
        seen = set()
        for root in self._roots:
            for folder in _folders(root):
                if folder in seen:
                    continue
                seen.add(folder)
                name = _unused(str(Path(root.name or "root") / folder.relative_to(root)), found)
                found[name] = self._info(name, folder)
        self._read = {folder: read for folder, read in self._read.items() if folder in seen}
        return dict(sorted(found.items()))

    def _info(self, name: str, folder: Path) -> RunInfo:
        marks, newest = _marks(folder)
        quiet = time.time() - newest > _QUIET_SECONDS
        key = (name, quiet, *marks)
        known = self._read.get(folder)
        if known is None or known[0] != key:
            self._read[folder] = known = (key, _read(name, folder, quiet=quiet))
        return known[1]


def _folders(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith(_SKIPPED))
        if {*EPISODES, METRICS, "plan.json"} & set(files):
            yield Path(place)


def _unused(name: str, taken: Mapping[str, RunInfo]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _marks(folder: Path) -> tuple[list[object], float]:
    """Return sizes and times of the files that a summary reads, and the time of the last change in seconds."""
    marks: list[object] = []
    newest = 0.0
    for name in (*EPISODES, METRICS, *_SETTINGS):
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        marks.append((name, status.st_size, status.st_mtime_ns))
        newest = max(newest, status.st_mtime)
    return marks, newest


def _read(name: str, folder: Path, *, quiet: bool) -> RunInfo:
    try:
        plan, run = read_object(folder / "plan.json"), read_object(folder / "run.json")
        config = read_training(folder)
        has_metrics = (folder / METRICS).is_file()
        records = read_metrics(folder) if has_metrics else []
        values = _settings(plan, config, run)
        if config or records:
            values |= _training(folder, config, plan, records, quiet=quiet)
        else:
            values |= _evaluation(folder, run, quiet=quiet)
        if not (isnan(rate := values["passed"]) or 0 <= rate <= 1) or values["episodes"] < 0:
            raise DataError(f"{folder}: the pass rate {rate} of {values['episodes']} episodes is not between 0 and 1")
        return RunInfo(name, folder, **values, episodes_file=_episodes(folder), has_metrics=has_metrics)
    except DataError as error:
        return RunInfo(name, folder, problem=str(error), episodes_file=_episodes(folder))
    except (*_MALFORMED, OSError) as error:
        return RunInfo(name, folder, problem=f"{type(error).__name__}: {error}", episodes_file=_episodes(folder))


def _episodes(folder: Path) -> Path | None:
    return next((folder / name for name in EPISODES if (folder / name).is_file()), None)


def _settings(plan: Mapping[str, Any], config: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the settings files say of the run."""
    evaluation = run.get("evaluation") or {}
    env = config.get("env") or {}
    env_id = str(evaluation.get("env_id") or env.get("id") or "")
    args = dict(evaluation.get("env_kwargs") or env.get("args") or {})
    if env.get("reward") and "reward" not in args:
        args["reward"] = env["reward"]
    benchmark = benchmark_of_env(env_id)
    scored = (run.get("settings") or {}).get("reward") or {}  # of `steptool score`, which names no environment
    reward = str(args.get("reward") or scored.get("kind") or (benchmark.reward if benchmark else ""))
    options = args.get("reward_options") or scored
    judge = str(options.get("judge") or (benchmark.judge if benchmark else "")) if reward in _JUDGED else ""
    split = str(args.get("split") or args.get("suite") or ", ".join(map(str, run.get("suites") or ())))
    held_out = str((env.get("eval_args") or {}).get("split") or "")
    seed = config.get("seed", evaluation.get("seed", ""))
    return {
        "arm": str(plan.get("arm") or config.get("algo") or run.get("agent") or ""),
        "seed": str(seed),
        "env_id": env_id,
        "env_args": args,
        "split": f"{split} → {held_out}" if held_out and held_out != split else split,
        "reward": reward,
        "judge": judge,
        "settings_digest": training_digest(config) if config else "",
    }


def _training(
    folder: Path,
    config: Mapping[str, Any],
    plan: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    *,
    quiet: bool,
) -> dict[str, Any]:
    last = records[-1] if records else {}
    calls, budget = int(last.get("calls") or 0), int(config.get("calls") or 0)
    result = read_object(folder / "result.json")
    done = bool(result) or (budget > 0 and calls >= budget)
    state: State = "finished" if done else "planned" if quiet and not records else "stopped" if quiet else "running"
    speed = _speed(records)
    metric, passed, episodes = _latest_pass(records, config)
    panel = (result.get("digests") or {}).get(metric.split("/")[1] if metric.count("/") == 2 else "", "")
    return {
        "calls": calls,
        "budget": budget,
        "metric": metric,
        "passed": passed,
        "episodes": episodes,
        "panel": str(panel or read_held_out(folder)),
        "state": state,
        "phase": _phase(state, config, plan, last),
        "calls_per_second": speed,
        "seconds_left": (budget - calls) / speed if state == "running" and budget > calls and speed > 0 else nan,
    }


def _phase(state: State, config: Mapping[str, Any], plan: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """Return the phase that follows from the last record: no file says it more exactly."""
    iteration = int(last.get("iteration") or 0)
    if state == "planned":
        return "not started"
    if state != "running":
        return f"{iteration} iterations"
    every = int(config.get("eval_every") or 0)
    if not last:
        return "first evaluation" if every else "first rollout"
    warming = iteration < int(config.get("critic_warmup") or 0)
    marks = [int(config["calls"]) * point // plan["points"] for point in range(1, plan["points"] + 1)] if plan else []
    per_iteration = int(last.get("calls") or 0) / max(1, iteration)
    due = bool(every and (iteration + 1) % every == 0)
    due |= any(last["calls"] < mark <= last["calls"] + per_iteration for mark in marks)
    return f"iteration {iteration + 1}{', critic warm-up' if warming else ''}{', then an evaluation' if due else ''}"


def _speed(records: Sequence[Mapping[str, Any]]) -> float:
    """Return calls per second of the last iterations, evaluations included where their time is known."""
    recent = [r for r in records[-_RECENT - 1 :] if r.get("time/iteration_seconds")]
    seconds = sum(float(r.get("time/whole_seconds") or r["time/iteration_seconds"]) for r in recent[1:])
    return (recent[-1]["calls"] - recent[0]["calls"]) / seconds if len(recent) > 1 and seconds else nan


def pass_metrics(names: Sequence[str]) -> list[str]:
    """Return the names of pass rates among the names of metrics: held-out ones first, then those of training."""
    held_out = sorted(n for n in names if n == "eval/is_solved" or n.endswith("/pass_rate"))
    return held_out + [n for n in names if n == "rollout/is_solved"]


def _latest_pass(records: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> tuple[str, float, int]:
    """Return metric, rate and number of episodes of the latest pass rate."""
    for kind in ("greedy/", "eval/", "sampled/", "rollout/"):
        for record in reversed(records):
            for name in pass_metrics(list(record)):
                if name.startswith(kind) and record[name] is not None:
                    count = record.get(name.replace("/pass_rate", "/episodes")) if "pass_rate" in name else None
                    default = config.get("episodes" if kind == "rollout/" else "eval_episodes")
                    return name, float(record[name]), int(count or default or 0)
    return "", nan, 0


def _evaluation(folder: Path, run: Mapping[str, Any], *, quiet: bool) -> dict[str, Any]:
    metrics = read_object(folder / "metrics.json")
    state: State = "finished" if metrics else "stopped" if quiet else "running"
    rate = metrics.get("pass_rate")
    return {
        "panel": str(metrics.get("panel") or ""),
        "episodes": int(metrics.get("episodes") or 0),
        "passed": nan if rate is None else float(rate),
        "metric": "pass_rate" if rate is not None else "",
        "state": state,
        "phase": "" if run or not quiet else "no run.json",
    }
