"""Index of episodes in SQLite: filters and pages over trajectory files that grow, without keeping them in memory."""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agents.view.index_tables import BROKEN, Update, add_lines, prepare, remove
from steptool_env.episodes.records import read_trajectory
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.types import Trajectory

PAGE = 50
"""Episodes of one page."""

ENDINGS = {
    "solved": "solved",
    "failed": "failed",
    "gave_up": "gave up",
    "no_calls_left": "ran out of calls",
    BROKEN: "broken line",
}
"""Values of the filter `ending`, with their texts."""


class Row(NamedTuple):
    """One episode of a page.

    Attributes:
        path: Trajectory file.
        line: Number of its line, from 1.
        suite: Suite of the task.
        task: Id of the task; empty for a broken line.
        query: Start of the query.
        ending: End of the episode: `answered`, `gave up`, `ran out of calls` or `broken`.
        passed: Verdict, 0 to 1; `None` without one.
        steps: Number of calls.
        total: Sum of the rewards; `None` if it is not finite.
        problem: Error of a broken line.
    """

    path: str
    line: int
    suite: str
    task: str
    query: str
    ending: str
    passed: float | None
    steps: int
    total: float | None
    problem: str


@dataclass(frozen=True)
class Filter:
    """Filter of episodes; empty texts let all pass.

    Attributes:
        ending: Key of `ENDINGS`.
        term: Reward term that some call has earned: its value is not 0.
        tool: Function that some call names.
        status: Status code of some call, as text.
        text: Words that query, calls or observations contain, each as a prefix.
        task: Id of the task.
    """

    ending: str = ""
    term: str = ""
    tool: str = ""
    status: str = ""
    text: str = ""
    task: str = ""


class EpisodeIndex:
    """Index of trajectory files in one SQLite file.

    A file is read once; `update` adds the lines that were written since. A file that was replaced is read again. The
    index may be shared by several processes.

    Args:
        path: SQLite file; its folder is created.

    Raises:
        ConfigurationError: The file is damaged or of another program.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        try:
            with self._open() as database:
                prepare(database)
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"index={str(path)!r}: {error}; remove it, or give another --index") from error

    def update(self, file: Path) -> Update:
        """Add complete lines of `file`, at most some megabytes.

        Raises:
            OSError: The file cannot be read.
        """
        with file.open("rb") as source, self._open() as database:
            return add_lines(database, file, source)

    def forget_missing(self) -> None:
        """Remove the episodes of files that no longer exist."""
        with self._open() as database:
            for number, path in database.execute("SELECT id, path FROM files").fetchall():
                if not Path(path).is_file():
                    remove(database, number)
                    database.execute("DELETE FROM files WHERE id = ?", (number,))
            database.commit()

    def progress(self, files: Sequence[Path]) -> dict[str, tuple[int, int]]:
        """Return, by path, the number of lines and of bytes that are in the index."""
        with self._open() as database:
            found = database.execute("SELECT path, lines, offset FROM files").fetchall()
        wanted = set(map(str, files))
        return {path: (lines, offset) for path, lines, offset in found if path in wanted}

    def page(self, files: Sequence[Path], chosen: Filter, start: int = 0, limit: int = PAGE) -> tuple[list[Row], int]:
        """Return a page of the episodes that pass the filter, by file and line, and the number of all that do."""
        with self._open() as database:
            where, values = _conditions(database, files, chosen)
            (total,) = database.execute(f"SELECT count(*) FROM episodes e WHERE {where}", values).fetchone()  # noqa: S608
            rows = database.execute(
                "SELECT f.path, e.line, e.suite, e.task, e.query, e.ending, e.passed, e.steps, e.total, e.problem"  # noqa: S608
                f" FROM episodes e JOIN files f ON f.id = e.file WHERE {where}"
                " ORDER BY e.file, e.line LIMIT ? OFFSET ?",
                (*values, limit, start),
            ).fetchall()
        return [Row(*row) for row in rows], total

    def values(self, files: Sequence[Path], kind: str) -> list[str]:
        """Return the values of a kind of mark (`term`, `tool`, `status`) in some files, sorted."""
        with self._open() as database:
            numbers = _numbers(database, files)
            found = {
                value
                for number in numbers
                for (value,) in database.execute(
                    "SELECT DISTINCT value FROM marks WHERE file = ? AND kind = ?", (number, kind)
                )
            }
        return sorted(found)

    def counts(self, file: Path) -> tuple[int, float, int, int]:
        """Return the number of judged episodes of a file, their mean verdict, the calls, and the broken lines."""
        with self._open() as database:
            (row,) = database.execute(
                "SELECT count(passed), coalesce(avg(passed), 0), coalesce(sum(steps), 0), coalesce(sum(ending = ?), 0)"
                " FROM episodes WHERE file = (SELECT id FROM files WHERE path = ?)",
                (BROKEN, str(file)),
            ).fetchall()
        return int(row[0]), float(row[1]), int(row[2]), int(row[3])

    def of_task(self, files: Sequence[Path], suite: str, task: str) -> list[Row]:
        """Return the episodes of one task."""
        rows, _ = self.page(files, Filter(task=task), limit=200)
        return [row for row in rows if row.suite == suite]

    def neighbours(self, file: Path, number: int) -> dict[str, int]:
        """Return the lines of the episodes before and after a line of a file, as `previous` and `next`."""
        with self._open() as database:
            numbers = _numbers(database, [file])
            before, after = (
                database.execute(
                    f"SELECT line FROM episodes WHERE file = ? AND line {sign} ? ORDER BY line {order} LIMIT 1",  # noqa: S608
                    (*numbers, number),
                ).fetchone()
                for sign, order in (("<", "DESC"), (">", "ASC"))
            )
        return {name: line for name, (line,) in (("previous", before or (None,)), ("next", after or (None,))) if line}

    def line(self, file: Path, number: int) -> bytes:
        """Return one line of a file. Raises `DataError` for a line that is not in the index."""
        with self._open() as database:
            row = database.execute(
                "SELECT offset, length FROM episodes WHERE file = (SELECT id FROM files WHERE path = ?) AND line = ?",
                (str(file), number),
            ).fetchone()
        if row is None:
            raise DataError(f"{file}: line {number} is not in the index; it may not be written yet")
        with file.open("rb") as source:
            source.seek(row[0])
            return source.read(row[1])

    def episode(self, file: Path, number: int) -> Trajectory:
        """Return the episode of one line. Raises `DataError` for a broken line, or one that is not in the index."""
        line = self.line(file, number)
        try:
            return read_trajectory(json.loads(line))
        except (DataError, ValueError, RecursionError) as error:
            raise DataError(f"{file}: line {number}: {error}") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous=OFF")  # the index can be built again
            yield database


def _conditions(
    database: sqlite3.Connection, files: Sequence[Path], chosen: Filter
) -> tuple[str, list[str | int | float]]:
    numbers = _numbers(database, files)
    holders = ", ".join("?" * len(numbers))
    parts: list[str] = [f"e.file IN ({holders})"]
    values: list[str | int | float] = [*numbers]
    match chosen.ending:
        case "solved":
            parts.append("e.passed = 1")
        case "failed":
            parts.append("e.passed < 1")
        case "":
            pass
        case other:
            parts.append("e.ending = ?")
            values.append(BROKEN if other == BROKEN else ENDINGS.get(other, other))
    if chosen.task:
        parts.append("e.task = ?")
        values.append(chosen.task)
    for kind, value in (("term", chosen.term), ("tool", chosen.tool), ("status", chosen.status)):
        if value:
            parts.append(
                f"e.id IN (SELECT episode FROM marks WHERE file IN ({holders}) AND kind = ? AND value = ?)"  # noqa: S608
            )
            values += [*numbers, kind, value]
    if words := re.findall(r"[^\W_]+", chosen.text):
        parts.append("e.id IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" ".join(f'"{word}"*' for word in words[:32]))
    return " AND ".join(parts), values


def _numbers(database: sqlite3.Connection, files: Sequence[Path]) -> list[int]:
    found: Mapping[str, int] = dict(database.execute("SELECT path, id FROM files").fetchall())
    return [found[str(file)] for file in files if str(file) in found]
