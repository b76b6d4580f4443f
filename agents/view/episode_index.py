"""Index of episodes in SQLite: filters and pages over trajectory files that grow, without keeping them in memory."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agents.reporting.html import way_of_ending
from steptool_env.episodes.records import read_trajectory
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.metrics import result_of
from steptool_env.types import Trajectory

PAGE = 50
"""Episodes of one page."""

_APPLICATION, _VERSION = 0x73747076, 1  # marks of the file: of this program, and of the form of its tables
_BATCH = 4 << 20  # bytes of trajectories that one transaction adds
_LONGEST = 64 << 20  # bytes of a line; a longer one is broken, for it would fill the memory
_QUERY_LENGTH = 300  # characters of a query that a row of the table shows
_TEXT = 4000  # characters of an observation that can be searched for
_TAIL = 512  # bytes
_BROKEN = "broken"

ENDINGS = {
    "solved": "solved",
    "failed": "failed",
    "gave_up": "gave up",
    "no_calls_left": "ran out of calls",
    _BROKEN: "broken line",
}
"""Values of the filter `ending`, with their texts."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT UNIQUE, inode INTEGER, offset INTEGER,
    lines INTEGER, tail BLOB);
CREATE TABLE IF NOT EXISTS episodes (id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER, line INTEGER, offset INTEGER,
    length INTEGER, suite TEXT, task TEXT, query TEXT, ending TEXT, passed REAL, steps INTEGER, total REAL,
    problem TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS by_line ON episodes (file, line);
CREATE INDEX IF NOT EXISTS by_task ON episodes (task, suite);
CREATE TABLE IF NOT EXISTS marks (file INTEGER, kind TEXT, value TEXT, episode INTEGER,
    PRIMARY KEY (file, kind, value, episode)) WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, content='', detail=none, columnsize=0);
"""


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


class Update(NamedTuple):
    """Result of an update: the episodes of the file have changed; more lines may be left."""

    changed: bool
    more: bool


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
                _prepare(database)
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"index={str(path)!r}: {error}; remove it, or give another --index") from error

    def update(self, file: Path) -> Update:
        """Add complete lines of `file`, at most some megabytes.

        Raises:
            OSError: The file cannot be read.
        """
        with file.open("rb") as source, self._open() as database:
            database.execute("BEGIN IMMEDIATE")  # another process may be adding the same lines
            row, replaced = _file_row(database, file, source)
            source.seek(row.offset)
            offset, number = row.offset, row.lines
            while offset - row.offset < _BATCH:
                line = source.readline(_LONGEST)
                length = len(line) if line.endswith(b"\n") else _skip(source, len(line))
                if not length:
                    break
                number += 1
                if line.strip():
                    _add(database, row.id, number, offset, line)
                offset += length
            database.execute(
                "UPDATE files SET offset = ?, lines = ?, tail = ? WHERE id = ?",
                (offset, number, _tail(source, offset), row.id),
            )
            database.commit()
            more = row.offset < offset < os.fstat(source.fileno()).st_size
            return Update(replaced or offset > row.offset, more)

    def forget_missing(self) -> None:
        """Remove the episodes of files that no longer exist."""
        with self._open() as database:
            for number, path in database.execute("SELECT id, path FROM files").fetchall():
                if not Path(path).is_file():
                    _remove(database, number)
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
                (_BROKEN, str(file)),
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


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables; an index of another version is built again."""
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if tables and application != _APPLICATION:
        raise sqlite3.DatabaseError("another program wrote this file")
    if version != _VERSION:
        for name in ("files", "episodes", "marks", "words"):
            database.execute(f"DROP TABLE IF EXISTS {name}")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"PRAGMA application_id={_APPLICATION}")
    database.execute(f"PRAGMA user_version={_VERSION}")
    database.executescript(_SCHEMA)


class _File(NamedTuple):
    id: int
    offset: int
    lines: int


def _file_row(database: sqlite3.Connection, file: Path, source: BinaryIO) -> tuple[_File, bool]:
    """Return the row of a file, and True where it is an emptied one of a file that was replaced."""
    inode = os.fstat(source.fileno()).st_ino
    row = database.execute("SELECT id, offset, lines, inode, tail FROM files WHERE path = ?", (str(file),)).fetchone()
    if row is None:
        added = database.execute(
            "INSERT INTO files (path, inode, offset, lines, tail) VALUES (?, ?, 0, 0, ?)", (str(file), inode, b"")
        )
        assert added.lastrowid is not None
        return _File(added.lastrowid, 0, 0), False
    number, offset, lines, known, tail = row
    if inode == known and _tail(source, offset) == tail:
        return _File(number, offset, lines), False
    _remove(database, number)
    database.execute("UPDATE files SET inode = ? WHERE id = ?", (inode, number))
    return _File(number, 0, 0), True


def _tail(source: BinaryIO, offset: int) -> bytes:
    """Return the last bytes before `offset`, which tell whether the file still begins with what is in the index."""
    start = max(0, offset - _TAIL)
    source.seek(start)
    return source.read(offset - start)


def _skip(source: BinaryIO, length: int) -> int:
    """Skip the rest of a line of which `length` bytes were read. Return its whole length, 0 if it is not complete."""
    while part := source.readline(_BATCH) if length >= _LONGEST else b"":
        length += len(part)
        if part.endswith(b"\n"):
            return length
    return 0


def _remove(database: sqlite3.Connection, number: int) -> None:
    # The words of removed episodes stay in `words`: their ids are never used again.
    database.execute("DELETE FROM episodes WHERE file = ?", (number,))
    database.execute("DELETE FROM marks WHERE file = ?", (number,))


def _add(database: sqlite3.Connection, file: int, number: int, offset: int, line: bytes) -> None:
    place = (file, number, offset, len(line))
    try:
        episode = read_trajectory(json.loads(line))
        passed = result_of(episode).passed if episode.metadata.get("outcome") else None
    except (DataError, ValueError, RecursionError, TypeError, AttributeError) as error:  # of an outcome, too
        database.execute(
            "INSERT INTO episodes (file, line, offset, length, suite, task, query, ending, steps, problem)"
            " VALUES (?, ?, ?, ?, '', '', ?, ?, 0, ?)",
            (*place, _utf8(line[:_QUERY_LENGTH].decode(errors="replace")), _BROKEN, _utf8(str(error)[:500])),
        )
        return
    task = episode.task
    total = sum(episode.rewards)
    added = database.execute(
        "INSERT INTO episodes (file, line, offset, length, suite, task, query, ending, passed, steps, total, problem)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')",
        (
            *place,
            _utf8(task.suite),
            _utf8(task.id),
            _utf8(task.query[:_QUERY_LENGTH]),
            "lost" if "transport_error" in episode.metadata else way_of_ending(episode),
            passed,
            len(episode.steps),
            total if isfinite(total) else None,
        ),
    )
    marks = [("term", name) for step in episode.steps for name, value in step.reward_terms.items() if value]
    marks += [("tool", step.action.name) for step in episode.steps if step.action.name]
    marks += [("status", step.status.name.lower().replace("_", " ")) for step in episode.steps]
    database.executemany(
        "INSERT OR IGNORE INTO marks VALUES (?, ?, ?, ?)",
        [(file, kind, _utf8(value[:200]), added.lastrowid) for kind, value in dict.fromkeys(marks)],
    )
    texts = [task.id, task.query, *(f"{s.action.text}\n{s.observation[:_TEXT]}" for s in episode.steps)]
    database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (added.lastrowid, _utf8("\n".join(texts))))


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
            values.append(_BROKEN if other == _BROKEN else ENDINGS.get(other, other))
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


def _utf8(text: str) -> str:
    """Return a text without lone surrogates, which SQLite cannot store."""
    return text.encode("utf-8", "backslashreplace").decode()
