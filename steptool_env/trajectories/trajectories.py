"""Trajectory files: JSON Lines, one episode per line."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from steptool_env.episodes.records import encode, read_trajectory, trajectory_record
from steptool_env.errors import DataError
from steptool_env.types import Trajectory


class BadLine(NamedTuple):
    """Number (from 1) of an invalid line, and the error."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


class TrajectoryFile(NamedTuple):
    """Content of a file: trajectories in order, and invalid lines."""

    trajectories: list[Trajectory]
    bad_lines: list[BadLine]


class TrajectoryWriter:
    """Writes trajectories one by one and flushes each line.

    Args:
        path: File to write; its folder is created.
        append: If True, append to an existing file; otherwise replace it. A last line that was cut, as by a killed
            process, is ended first, so that it takes no other with it.
    """

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab" if append else "wb")
        if self._file.tell() and not ends_a_line(self.path):
            self._file.write(b"\n")

    def write(self, trajectory: Trajectory) -> None:
        """Write one episode.

        Raises:
            DataError: The episode would not be the same after it was read: it holds NaN, or a value that JSON does not
                have. Nothing is written.
        """
        self._file.write(_checked_line(trajectory) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write a file of trajectories. Raises `DataError` as `TrajectoryWriter.write` does."""
    with TrajectoryWriter(path) as writer:
        for trajectory in trajectories:
            writer.write(trajectory)


def read_trajectories(path: str | Path) -> TrajectoryFile:
    """Read a file of trajectories. Invalid lines are skipped and reported by number.

    Raises:
        DataError: The file cannot be read.
    """
    trajectories: list[Trajectory] = []
    bad_lines: list[BadLine] = []
    for number, line in _lines(Path(path)):
        try:
            trajectories.append(read_trajectory(json.loads(line)))
        except (DataError, ValueError, RecursionError) as error:
            bad_lines.append(BadLine(number, str(error)))
    return TrajectoryFile(trajectories, bad_lines)


def _checked_line(trajectory: Trajectory) -> bytes:
    """Return the line of a trajectory. Raises `DataError` if the trajectory read from it would have another line."""
    try:
        line = encode(trajectory_record(trajectory))
        again = encode(trajectory_record(read_trajectory(json.loads(line, parse_constant=_constant))))
    except (DataError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DataError(f"episode of task {trajectory.task.id!r:.80} cannot be written: {error}") from error
    if again != line:
        start = max(0, next(i for i, (a, b) in enumerate(zip(line + b" ", again + b" ", strict=False)) if a != b) - 40)
        raise DataError(
            f"episode of task {trajectory.task.id!r:.80} cannot be written: {line[start : start + 80]!r} would be "
            f"{again[start : start + 80]!r} when it is written again; use JSON values with names that are text"
        )
    return line


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("a reward or another number is NaN")
    return float(name)


def ends_a_line(path: Path) -> bool:
    """Return true if the last line of a file is complete."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
