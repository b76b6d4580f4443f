"""Tables of the index of episodes, and the lines of a trajectory file that are added to them."""

import json
import os
import sqlite3
from math import isfinite
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agents.reporting.html import way_of_ending
from steptool_env.episodes.records import read_trajectory
from steptool_env.errors import DataError
from steptool_env.metrics import result_of

BROKEN = "broken"
"""Ending of an episode whose line cannot be read."""

_APPLICATION, _VERSION = 0x73747076, 1  # marks of the file: of this program, and of the form of its tables
_BATCH = 4 << 20  # bytes of trajectories that one transaction adds
_LONGEST = 64 << 20  # bytes of a line; a longer one is broken, for it would fill the memory
_QUERY_LENGTH = 300  # characters of a query that a row of the table shows
_TEXT = 4000  # characters of an observation that can be searched for
_TAIL = 512  # bytes

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


class Update(NamedTuple):
    """Result of an update: the episodes of the file have changed; more lines may be left."""

    changed: bool
    more: bool


def prepare(database: sqlite3.Connection) -> None:
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


def add_lines(database: sqlite3.Connection, file: Path, source: BinaryIO) -> Update:
    """Add complete lines of a file, at most some megabytes, in one transaction."""
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
    remove(database, number)
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


def remove(database: sqlite3.Connection, number: int) -> None:
    """Remove the episodes of a file."""
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
            (*place, _utf8(line[:_QUERY_LENGTH].decode(errors="replace")), BROKEN, _utf8(str(error)[:500])),
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


def _utf8(text: str) -> str:
    """Return a text without lone surrogates, which SQLite cannot store."""
    return text.encode("utf-8", "backslashreplace").decode()
