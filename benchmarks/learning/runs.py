"""Performs planned training runs: unfinished ones only, one after the other or several at a time."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.progress import TaskID

from agents.errors import TrainingError
from agents.reporting.console import Display
from agents.training.subprocess_run import ModuleProcess
from benchmarks.learning.finished_runs import START
from benchmarks.learning.training_run import OnCalls, Plan, mean_pass, play, read_result
from steptool_env.errors import ConfigurationError, StepToolError

PACKAGES = ("scipy", "safetensors", "tokenizers")
"""Packages whose versions are recorded with the results."""


class LearningProgressBar(Display):
    """Number of calls of each arm's runs, and their last greedy pass rates. Finished runs count as done."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        super().__init__()
        self._arm = {plan.folder: plan.arm for plan in plans}
        self._calls: dict[Path, int] = {}
        self._passed: dict[Path, float] = {}
        self._arms: dict[str, TaskID] = {}
        self._totals: dict[str, int] = {}
        for arm in dict.fromkeys(plan.arm for plan in plans):
            self._totals[arm] = sum(plan.config.calls for plan in plans if plan.arm == arm and plan.points)
            self._arms[arm] = self.add_phase(arm, self._totals[arm])
        for plan in plans:
            if result := read_result(plan.folder):
                self.of(plan)(plan.config.calls, mean_pass(result["curve"][-1], plan))

    def of(self, plan: Plan) -> OnCalls:
        """Return the progress callback of a plan's run."""

        def on_calls(calls: int, passed: float | None) -> None:
            # The last iteration exceeds the planned calls.
            self._calls[plan.folder] = min(calls, plan.config.calls) if plan.points else 0
            if passed is not None:
                self._passed[plan.folder] = passed
            self._show(plan.arm)

        return on_calls

    def _show(self, arm: str) -> None:
        passed = [rate for folder, rate in self._passed.items() if self._arm[folder] == arm]
        words = f"calls, greedy {100 * fmean(passed):.1f} % of {len(passed)} runs" if passed else "calls"
        calls = sum(calls for folder, calls in self._calls.items() if self._arm[folder] == arm)
        self.update(self._arms[arm], calls, self._totals[arm], words)


def perform(plans: Sequence[Plan], jobs: int, ray: Sequence[str] | None = None) -> list[Mapping[str, Any]]:
    """Write all plans, do the unfinished runs, `jobs` at a time, and return all results in the order of the plans.

    One at a time they run in this process, several in child processes of one thread each. With `ray`, the address of a
    cluster or nothing for that of this machine, as many run as it has CPUs.

    Raises:
        ConfigurationError: A folder holds a run of other settings.
        SystemExit: Runs failed; the finished ones are kept.
    """
    for plan in plans:
        plan.write()
    waiting = [plan for plan in plans if read_result(plan.folder) is None]
    with LearningProgressBar(plans) as bar:
        if ray is not None:
            failed = _on_cluster(waiting, " ".join(ray), bar)
        else:
            failed = (_side_by_side if jobs > 1 else _one_by_one)(waiting, jobs, bar)
    if failed:
        raise SystemExit("\n".join(["error: runs failed; called again, the command goes on with them", *failed]))
    return [result for plan in plans if (result := read_result(plan.folder)) is not None]


def _one_by_one(plans: Sequence[Plan], jobs: int, bar: LearningProgressBar) -> list[str]:  # noqa: ARG001
    """Do the runs in this process. Return a line per failed run."""
    failed = []
    for plan in plans:
        try:
            play(plan.folder, bar.of(plan))
        except StepToolError as error:
            failed.append(f"{plan.folder}: {error}")
    return failed


def _side_by_side(plans: Sequence[Plan], jobs: int, bar: LearningProgressBar) -> list[str]:
    """Do every run in a child process, `jobs` at a time. Return a line per failed run."""
    pool = ThreadPoolExecutor(jobs)
    try:
        return [line for line in pool.map(lambda plan: _run_in_process(plan, bar.of(plan)), plans) if line]
    finally:
        pool.shutdown(cancel_futures=True)  # when interrupted, start no other run


def _on_cluster(plans: Sequence[Plan], address: str, bar: LearningProgressBar) -> list[str]:
    """Do every run on a CPU of a cluster, and write its files here. Return a line per failed run."""
    from agents.cluster.tasks import connect, unordered

    connect(address)
    failed = []
    for number, (files, error) in unordered(_run_on_node, (str(Path.cwd()),), plans):
        plan = plans[number]
        for name, data in files.items():
            (plan.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (plan.folder / name).write_bytes(data)
        if error:
            failed.append(f"{plan.folder}: {error}")
        elif result := read_result(plan.folder):
            bar.of(plan)(plan.config.calls, mean_pass(result["curve"][-1], plan))
    return failed


def _run_on_node(root: str, plan: Plan) -> tuple[dict[str, bytes], str]:
    """Do one run in a worker, in the same folder as on the machine that asks. Return its files, and an error.

    Where the nodes have a common file system, a run whose node died goes on from its newest checkpoint; elsewhere from
    the start, with the same result.
    """
    Path(root).mkdir(parents=True, exist_ok=True)
    with chdir(root):
        plan.write()
        try:
            play(plan.folder, lambda *_: None)
        except StepToolError as error:
            return {}, str(error)
        # The result last: a folder with it is a finished run.
        paths = sorted(plan.folder.rglob("*"), key=lambda path: path.name == "result.json")
        return {str(path.relative_to(plan.folder)): path.read_bytes() for path in paths if path.is_file()}, ""


def _run_in_process(plan: Plan, on_calls: OnCalls) -> str:
    """Do one run in a child process. Return the error, or an empty text.

    If this process is killed, the child ends at its next progress line.
    """
    words = ["benchmarks.learning.training_run", str(plan.folder)]
    with ModuleProcess(words, plan.folder / "errors.txt", piped=True) as process:
        for line in process.lines():
            progress = json.loads(line)
            on_calls(progress["calls"], progress["passed"])
        try:
            process.over()
        except TrainingError as error:
            return str(error)
    return ""


def finished(runs: Path, arms: Sequence[str], seeds: int) -> list[str]:
    """Return the names of the start and of the first runs of the arms, which are folders in `runs`.

    Raises:
        ConfigurationError: A run is missing or unfinished.
    """
    names = [START, *(f"{arm}-{seed}" for arm in arms for seed in range(seeds))]
    for name in names:
        if read_result(runs / name) is None:
            raise ConfigurationError(f"runs: {runs / name} holds no finished run; do it with learning.experiment")
    return names
