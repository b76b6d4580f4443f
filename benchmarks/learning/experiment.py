"""Learning experiment on the timing of rewards by task depth: arms and seeds from one start, with equal calls.

    python -m benchmarks.learning.experiment --policy agents/demo/checkpoints/nano-sft --seeds 5 --calls 6000

Question, hypotheses and interpretation: docs/learning.md. Every arm (benchmarks/learning/arms.py)
trains the same starting policy on the same mixture of tasks of depth 1 to 3, with the same settings
(benchmarks/learning/learning.yaml), and is evaluated on the same held-out tasks of each depth at the same numbers of
environment calls.

Runs are kept in `--runs`. The command skips finished runs and resumes unfinished ones, so it can be stopped at any
time and repeated with more seeds or arms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import tyro
from rich.progress import TaskID

from agents.errors import TrainingError
from agents.models import checkpoint
from agents.reporting.console import Display
from agents.training.subprocess_run import ModuleProcess
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, origin
from benchmarks.learning.arms import ARMS, DEFAULT_ARMS, SHARED, arm_config
from benchmarks.learning.finished_runs import START, Experiment
from benchmarks.learning.report import report
from benchmarks.learning.training_run import OnProgress, Plan, mean_pass, play, read_result
from steptool_env.errors import StepToolError

_PACKAGES = ("scipy", "safetensors", "tokenizers")


@dataclass(frozen=True)
class Options:
    """Train arms from one start and compare them.

    Example: python -m benchmarks.learning.experiment --policy runs/sft --seeds 5 --jobs 2
    """

    policy: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Checkpoint that every run starts from (`steptool sft`)."""
    calls: int = 6000
    """Environment calls of training in each run."""
    seeds: int = 5
    """Number of runs per arm."""
    arms: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ARM")] = DEFAULT_ARMS
    """Names of the arms, see benchmarks/learning/arms.py."""
    points: int = 4
    """Number of evaluations per run, evenly spaced over the calls, the last at the end."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = SHARED
    """YAML file of the settings that all arms share, as for `steptool train`."""
    jobs: int = 1
    """Number of concurrent runs, one thread each: 1 runs in this process, more in child processes."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/learning")
    """Folder of the runs."""


class LearningProgress(Display):
    """Number of calls of each arm's runs, and their last pass rates on the held-out tasks.

    Finished runs count as done.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        super().__init__()
        self._calls: dict[tuple[str, int], int] = {}
        self._passed: dict[tuple[str, int], float] = {}
        self._arms: dict[str, TaskID] = {}
        self._totals: dict[str, int] = {}
        for arm in dict.fromkeys(plan.arm for plan in plans):
            self._totals[arm] = sum(plan.config.calls for plan in plans if plan.arm == arm and plan.points)
            self._arms[arm] = self.add_phase(arm, self._totals[arm])
        for plan in plans:
            if result := read_result(plan.folder):
                self.of(plan)(plan.config.calls, mean_pass(result["curve"][-1]))

    def of(self, plan: Plan) -> OnProgress:
        """Return the progress callback of a plan's run."""

        def on_progress(calls: int, passed: float | None) -> None:
            key = plan.arm, plan.seed
            # The last iteration exceeds the planned calls.
            self._calls[key] = min(calls, plan.config.calls) if plan.points else 0
            if passed is not None:
                self._passed[key] = passed
            self._show(plan.arm)

        return on_progress

    def _show(self, arm: str) -> None:
        passed = [rate for (name, _), rate in self._passed.items() if name == arm]
        words = f"calls, held out {100 * fmean(passed):.1f} % of {len(passed)} runs" if passed else "calls"
        calls = sum(calls for (name, _), calls in self._calls.items() if name == arm)
        self.update(self._arms[arm], calls, self._totals[arm], words)


def run(options: Options) -> Result:
    """Do all unfinished runs, and compare.

    Raises:
        ConfigurationError: An arm is unknown, or the folder holds runs of other settings.
        SystemExit: Runs failed; the finished ones are kept.
    """
    plans = planned(options, origin(_PACKAGES))
    for plan in plans:
        plan.write()
    with LearningProgress(plans) as progress:
        failed = perform(plans, options.jobs, progress)
    if failed:
        raise SystemExit("\n".join(["error: runs failed; called again, the command goes on with them", *failed]))
    results = [result for plan in plans if (result := read_result(plan.folder)) is not None]
    return report(Experiment.of(options.arms, results))


def planned(options: Options, started: Mapping[str, Any]) -> list[Plan]:
    """Return the run of the start, then those of the arms, seed by seed."""
    if unknown := [name for name in options.arms if name not in ARMS]:
        raise SystemExit(f"error: --arms {' '.join(unknown)}: no such arm; there are {', '.join(ARMS)}")
    if min(options.calls, options.seeds, options.points, options.jobs) < 1:
        raise SystemExit("error: --calls, --seeds, --points and --jobs must be at least 1")
    digest = checkpoint.load_digest(checkpoint.resolve_checkpoint(options.policy))

    def plan(name: str, arm: str, seed: int, points: int) -> Plan:
        folder = options.runs / (START if name == START else f"{name}-{seed}")
        config = arm_config(arm, seed, options.config, options.policy, options.calls, folder)
        return Plan(name, seed, points, digest, config, started)

    start = plan(START, "final", 0, 0)
    return [start, *(plan(arm, arm, seed, options.points) for seed in range(options.seeds) for arm in options.arms)]


def perform(plans: Sequence[Plan], jobs: int, progress: LearningProgress) -> list[str]:
    """Do all unfinished runs. Return a line per failed run."""
    waiting = [plan for plan in plans if read_result(plan.folder) is None]
    if jobs > 1:
        return _side_by_side(waiting, jobs, progress)
    failed = []
    for plan in waiting:
        try:
            play(plan.folder, progress.of(plan))
        except StepToolError as error:
            failed.append(f"{plan.folder}: {error}")
    return failed


def _side_by_side(plans: Sequence[Plan], jobs: int, progress: LearningProgress) -> list[str]:
    """Do every run in a child process, `jobs` at a time."""
    pool = ThreadPoolExecutor(jobs)
    try:
        return [line for line in pool.map(lambda plan: _run_in_process(plan, progress.of(plan)), plans) if line]
    finally:
        pool.shutdown(cancel_futures=True)  # when interrupted, start no other run


def _run_in_process(plan: Plan, on_progress: OnProgress) -> str:
    """Do one run in a child process. Return the error, or an empty text.

    If this process is killed, the child ends at its next progress line.
    """
    words = ["benchmarks.learning.training_run", str(plan.folder)]
    with ModuleProcess(words, plan.folder / "errors.txt", piped=True) as process:
        for line in process.lines():
            progress = json.loads(line)
            on_progress(progress["calls"], progress["passed"])
        try:
            process.over()
        except TrainingError as error:
            return str(error)
    return ""


if __name__ == "__main__":
    run_command("learning.experiment", Options, run, _PACKAGES)
