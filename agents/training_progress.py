"""A live line of a training run: how far, how good, how fast."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """Shows rounds of training, with a few words on the last one.

    Args:
        names: Of the runs, a line each.
        console: Where it is shown.
    """

    def __init__(self, *names: str, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._lines = {name: self._progress.add_task(name, total=None, words="") for name in names}
        self._evaluated = dict.fromkeys(names, "")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def tell(self, done: int, total: int, words: str, name: str = "") -> None:
        """Say how many rounds of a run (by default the first) are done, and something about the last."""
        line = self._lines[name or next(iter(self._lines))]
        self._progress.update(line, completed=done, total=total, words=words)

    def tell_rollout(self, name: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Say what an iteration of online training came to: calls so far, pass rates, speed."""
        if "eval/is_solved" in metrics:
            self._evaluated[name] = f", held out {100 * metrics['eval/is_solved']:.1f} %"
        words = f"{metrics.get('calls', 0):.0f} calls"
        if "rollout/is_solved" in metrics:
            speed = metrics.get("time/calls_per_second", 0.0)
            words += f", pass {100 * metrics['rollout/is_solved']:.1f} %, {speed:.0f} calls/s"
        self.tell(done, total, words + self._evaluated[name], name)
