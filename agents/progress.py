"""A progress bar over episodes with the pass rate so far."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from steptool_env.metrics import result_of, usable
from steptool_env.types import Trajectory

_NAME = 24  # characters of the name that are shown


class EpisodeProgress:
    """Shows how many episodes are over, and how many of those that count were solved."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(max_width=_NAME, no_wrap=True)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pass {task.fields[passed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(name, total=None, passed="–")
        self._passes: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def expect(self, episodes: int) -> None:
        """Say how many episodes there will be, and begin to show them."""
        self._progress.start()
        self._progress.update(self._task, total=episodes)

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode that is over."""
        self._passes += [result_of(counted).passed for counted in usable([trajectory])]
        rate = f"{100 * sum(self._passes) / len(self._passes):.1f} %" if self._passes else "–"
        self._progress.update(self._task, advance=1, passed=rate)
