"""Trajectory files: JSON Lines, one episode per line."""

import json
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
        append: If True, append to an existing file; otherwise replace it.
    """

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab" if append else "wb")

    def write(self, trajectory: Trajectory) -> None:
        """Write one episode."""
        self._file.write(encode(trajectory_record(trajectory)) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write a file of trajectories."""
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


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
