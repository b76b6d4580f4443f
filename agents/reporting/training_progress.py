"""Progress display of training runs."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from agents.reporting.console import Display


class TrainingProgress(Display):
    """Rounds of training, with a message about the last one.

    Args:
        names: Names of the runs, one line each.
        console: Output.
    """

    def __init__(self, *names: str, console: Console | None = None) -> None:
        super().__init__(console=console)
        self._lines = {name: self.add_phase(name) for name in names}
        self._evaluated = dict.fromkeys(names, "")

    def report(self, done: int, total: int, words: str, name: str = "") -> None:
        """Set the number of rounds and the message of a run (by default the first)."""
        self.update(self._lines[name or next(iter(self._lines))], done, total, words)

    def report_rollout(self, name: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Report an iteration of online training: calls so far, pass rates, speed."""
        if "eval/is_solved" in metrics:
            self._evaluated[name] = f", held out {100 * metrics['eval/is_solved']:.1f} %"
        words = f"{metrics.get('calls', 0):.0f} calls"
        if "rollout/is_solved" in metrics:
            speed = metrics.get("time/calls_per_second", 0.0)
            words += f", pass {100 * metrics['rollout/is_solved']:.1f} %, {speed:.0f} calls/s"
        self.report(done, total, words + self._evaluated[name], name)
