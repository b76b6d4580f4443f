"""Trajectories on disk: JSON Lines, one episode per line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from steptool_env.episodes.records import encode, read_trajectory, trajectory_record
from steptool_env.errors import DataError
from steptool_env.types import Trajectory


class BadLine(NamedTuple):
    """A line that holds no trajectory: its number (from 1) and what is wrong with it."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


class TrajectoryFile(NamedTuple):
    """What a file holds: the trajectories, in order, and the lines that are none."""

    trajectories: list[Trajectory]
    bad_lines: list[BadLine]


class TrajectoryWriter:
    """Writes trajectories as they come. Each line is written whole, so a killed run leaves whole lines but the last.

    Args:
        path: The file; its folder is made. An existing file is replaced, or added to with `append`.
        append: Keep what is there.
    """

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab" if append else "wb")

    def write(self, trajectory: Trajectory) -> None:
        """Add one episode."""
        self._file.write(encode(trajectory_record(trajectory)) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write a whole file of trajectories."""
    with TrajectoryWriter(path) as writer:
        for trajectory in trajectories:
            writer.write(trajectory)


def read_trajectories(path: str | Path) -> TrajectoryFile:
    """Read a file of trajectories. A bad line is reported by number and skipped.

    Raises:
        DataError: There is no such file.
    """
    trajectories: list[Trajectory] = []
    bad_lines: list[BadLine] = []
    for number, line in _lines(Path(path)):
        try:
            trajectories.append(read_trajectory(json.loads(line)))
        except (DataError, ValueError, RecursionError) as error:
            bad_lines.append(BadLine(number, str(error)))
    return TrajectoryFile(trajectories, bad_lines)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
