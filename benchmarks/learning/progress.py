"""Progress display of the learning experiment, one line per arm: calls, pass rates, time."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rich.console import Console
from rich.progress import TaskID

from agents.reporting.console import Display
from benchmarks.learning.training_run import OnProgress, Plan, mean_pass, read_result


class LearningProgress(Display):
    """Number of calls of each arm's runs, and their last pass rates on the held-out tasks.

    Finished runs count as done.
    """

    def __init__(self, plans: Sequence[Plan], console: Console | None = None) -> None:
        super().__init__(console=console)
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
