"""A live line of a training run: how far, how good, how fast."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """Shows rounds of training, with a few words on the last one."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(name, total=None, words="")
        self._evaluated = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def tell(self, done: int, total: int, words: str) -> None:
        """Say how many rounds are done, and something about the last."""
        self._progress.update(self._task, completed=done, total=total, words=words)

    def tell_rollout(self, done: int, total: int, calls: int, metrics: Mapping[str, float]) -> None:
        """Say what an iteration of online training came to: calls so far, pass rates, speed."""
        if "eval/is_solved" in metrics:
            self._evaluated = f", held out {100 * metrics['eval/is_solved']:.1f} %"
        solved, speed = metrics.get("rollout/is_solved", 0.0), metrics.get("time/calls_per_second", 0.0)
        self.tell(done, total, f"{calls} calls, pass {100 * solved:.1f} %{self._evaluated}, {speed:.0f} calls/s")
