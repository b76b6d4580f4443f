"""A live line for each arm of the learning experiment: calls, pass rates, time."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.training_run import Plan, Tell, mean_pass, read_result


class LearningProgress:
    """Shows how many calls the runs of each arm have made, and the last pass rates on the held-out tasks.

    Runs that are finished already count as done.
    """

    def __init__(self, plans: Sequence[Plan], console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} calls"),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._calls: dict[tuple[str, int], int] = {}
        self._passed: dict[tuple[str, int], float] = {}
        self._tasks: dict[str, TaskID] = {}
        for arm in dict.fromkeys(plan.arm for plan in plans):
            total = sum(plan.config.calls for plan in plans if plan.arm == arm and plan.points)
            self._tasks[arm] = self._progress.add_task(arm, total=total, words="")
        for plan in plans:
            if result := read_result(plan.folder):
                self.of(plan)(plan.config.calls, mean_pass(result["curve"][-1]))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def of(self, plan: Plan) -> Tell:
        """What the run of a plan tells its news."""

        def tell(calls: int, passed: float | None) -> None:
            key = plan.arm, plan.seed
            # The last iteration goes beyond the calls that were wanted.
            self._calls[key] = min(calls, plan.config.calls) if plan.points else 0
            if passed is not None:
                self._passed[key] = passed
            self._show(plan.arm)

        return tell

    def _show(self, arm: str) -> None:
        passed = [rate for (name, _), rate in self._passed.items() if name == arm]
        words = f"held out {100 * fmean(passed):.1f} % of {len(passed)} runs" if passed else ""
        calls = sum(calls for (name, _), calls in self._calls.items() if name == arm)
        self._progress.update(self._tasks[arm], completed=calls, words=words)
