"""Progress display of the demonstration: one line per phase, with the pass rate by depth of every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from agents.evaluation.panels import GREEDY, key
from agents.reporting.console import Display


class DemoProgress(Display):
    """Lines of the phases: each arm's training, the evaluations of the table, further attempts of the start.

    A terminal also shows those that wait.
    """

    def __init__(self, arms: Sequence[str], depths: Sequence[int], console: Console | None = None) -> None:
        super().__init__(console=console)
        self._depths = depths
        self._phases = {name: self.add_phase(name, waiting=True) for name in (*arms, "table", "attempts")}
        self._evaluated = dict.fromkeys(arms, "")

    def begin_phase(self, phase: str, total: int) -> None:
        """Begin an arm, by its environment calls, or `table` or `attempts`, by their evaluations."""
        self.begin(self._phases[phase], total)

    def evaluate(self, phase: str, done: int, total: int) -> None:
        """Set the number of finished evaluations of `table` or `attempts`."""
        self.update(self._phases[phase], done, total, "evaluations")

    def train(self, arm: str, total: int, record: Mapping[str, float | None]) -> None:
        """Report an iteration of an arm: calls, pass rate in training and on held-out tasks by depth, speed."""
        if (rates := self._by_depth(record)) is not None:
            self._evaluated[arm] = rates
        calls, passed, speed = (record.get(n) or 0.0 for n in ("calls", "rollout/is_solved", "time/calls_per_second"))
        words = f"calls, pass {100 * passed:.1f} %, {speed:.0f} calls/s{self._evaluated[arm]}"
        self.update(self._phases[arm], min(calls, total), total, words)

    def _by_depth(self, record: Mapping[str, float | None]) -> str | None:
        """Return the greedy pass rates of an evaluation by depth; `None` for a record without one."""
        found = [record.get(key(GREEDY, f"depth-{depth}", "pass_rate")) for depth in self._depths]
        rates = [f"{100 * rate:.0f}" for rate in found if rate is not None]
        if len(rates) < len(found):
            return None
        return f", held out at depth {'/'.join(map(str, self._depths))}: {'/'.join(rates)} % greedily"
