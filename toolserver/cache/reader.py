"""Reader of a cache's database."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from toolserver.cache.database import DATABASE, ENTRIES, FORMAT, refuse_foreign
from toolserver.cache.tally import FILE, KEY, Tally, TallyFile
from toolserver.errors import CacheError, DamagedEntryError

_PAGE = 1000  # rows per SELECT of a scan: a long read prevents merging the write-ahead log

_NEXT_PAGE = f"SELECT key, value FROM Cache WHERE key > ? AND {ENTRIES} ORDER BY key LIMIT ?"  # noqa: S608
_NEXT_KEYS = f"SELECT key FROM Cache WHERE key > ? AND {ENTRIES} ORDER BY key LIMIT ?"  # noqa: S608
_COUNT_OTHERS = f"SELECT count(*) FROM Cache WHERE NOT ({ENTRIES}) AND NOT (key = '{KEY}' AND raw = 1)"  # noqa: S608
_TALLIES = f"SELECT count(*) FROM Cache WHERE key = '{KEY}' AND raw = 1"  # noqa: S608
_TALLY = f"SELECT value FROM Cache WHERE key = '{KEY}' AND raw = 1"  # noqa: S608
_COUNT = f"SELECT value - ({_TALLIES}) FROM Settings WHERE key = 'count'"  # noqa: S608

# Page cache of a connection. No memory map: for the whole file it makes a hit among a million entries 25 % faster and
# the process as large as the file; for a part of the file it has no effect.
_PAGE_CACHE_KIB = 8192


class Reader:
    """Reads a store. Thread-safe, and usable after a fork."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / DATABASE
        self._pid = os.getpid()
        # Idle connections. A pool, not one per thread, because services make short-lived threads.
        self._idle: list[sqlite3.Connection] = []
        if not self._path.is_file():
            raise CacheError(f"no cache at {directory}; fill one with `toolserver import ... --cache {directory}`")
        try:
            self._check()
        except CacheError:
            self.close()
            raise

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        connection = self._take()  # `_connection` would double the cost of a hit
        try:
            row = connection.execute("SELECT value FROM Cache WHERE key = ? AND raw = 1", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        self._idle.append(connection)
        if row is None:
            return None
        value = row[0]
        if type(value) is not bytes:  # diskcache keeps other values as text, numbers or files
            raise DamagedEntryError(f"{self._path} holds a value that is not raw bytes; see `toolserver verify`")
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over keys and values in the order of keys. Entries added meanwhile may be missing."""
        return self._rows(_NEXT_PAGE)

    def keys(self) -> Iterator[bytes]:
        """Iterate over keys as `items` does, without reading the values."""
        return (key for (key,) in self._rows(_NEXT_KEYS))

    def count(self) -> int:
        """Return the stored number of entries."""
        with self._connection() as connection:
            row = connection.execute(_COUNT).fetchone()
        if row is None:
            raise CacheError(f"{self._path} has no count of entries; see `toolserver verify`")
        return int(row[0])

    def size(self) -> int:
        """Return the size of the database file in bytes."""
        return int(self._path.stat().st_size)

    def others(self) -> int:
        """Return the number of rows that are no entries and were not written by toolserver."""
        with self._connection() as connection:
            return int(connection.execute(_COUNT_OTHERS).fetchone()[0])

    def problems(self) -> Iterator[str]:
        """Iterate over the errors of the database itself."""
        with self._connection() as connection:
            for (message,) in connection.execute("PRAGMA quick_check"):
                if message != "ok":
                    yield f"database: {message}"
            (rows,) = connection.execute(f"SELECT count(*) - ({_TALLIES}) FROM Cache").fetchone()  # noqa: S608
            counted = connection.execute(_COUNT).fetchone()
        others = self.others()
        if others:
            yield f"database: {others} rows of another kind, which are never loaded"
        if counted != (rows,):
            yield f"database: {rows} entries, but {counted[0] if counted else 'none'} were counted on writing"
        yield from self._lost()

    def changes(self) -> Iterator[str]:
        """Yield an error if the entries are not those that were written. Damaged entries give one, too."""
        with self._connection() as connection:
            connection.execute("BEGIN")  # both see the same transactions
            stored = Tally.decode(_first(connection.execute(_TALLY).fetchone()))
            present = Tally.of_rows(connection, ENTRIES)
            connection.execute("COMMIT")
        if stored is not None and stored != present:
            yield (
                f"database: {present.entries} entries, which are not the {stored.entries} that toolserver wrote; an "
                "earlier version or another program has changed them"
            )

    def _lost(self) -> Iterator[str]:
        """Yield an error if the database is older than `tally.FILE`."""
        with self._connection() as connection, TallyFile(self._path.parent).read() as known:
            row = connection.execute(_TALLY).fetchone()
        stored = Tally.decode(_first(row))
        if known is None:
            if row is not None:
                yield (
                    f"{FILE}, which tells whether entries are missing, is missing or cannot be read; the next opening "
                    "for writing makes a new one"
                )
        elif stored is None:
            yield f"database: the number of entries is missing or cannot be read; {known[1].entries} were written"
        elif stored not in known:
            written, missing = known[1].entries, known[1].entries - stored.entries
            if missing > 0:
                reason = "the write-ahead log was deleted or damaged"
                yield f"database: {missing} of {written} entries are missing; {reason}"
            elif missing < 0:
                yield (
                    f"database: {-missing} more entries than in {FILE}, as after a power failure; the next opening for "
                    "writing renews it"
                )
            else:
                yield f"database: the entries are not those that {FILE} counts; the database was replaced by another"

    def close(self) -> None:
        """Close the idle connections. Other threads may take some meanwhile."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _check(self) -> None:
        with self._connection() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != FORMAT:
                raise CacheError(f"{self._path} has format {version}; this version of toolserver reads format {FORMAT}")
            refuse_foreign(connection, self._path)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._take()
        try:
            yield connection
        except sqlite3.DatabaseError as error:
            connection.close()
            raise self._unreadable(error) from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def _take(self) -> sqlite3.Connection:
        if self._pid != os.getpid():  # SQLite's connections must not cross a fork
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        try:
            with suppress(sqlite3.OperationalError):
                return self._open("mode=ro")
            # On a read-only volume a log-mode database opens only as immutable, which ignores the log.
            self._refuse_open_log()
            return self._open("mode=ro&immutable=1")
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error

    def _refuse_open_log(self) -> None:
        log = self._path.with_name(DATABASE + "-wal")
        if log.exists() and log.stat().st_size:
            raise CacheError(
                f"{self._path} was not closed by its last writer; run `toolserver verify` once where it is writable"
            )

    def _unreadable(self, error: sqlite3.Error) -> CacheError:
        return CacheError(f"cannot read {self._path}: {error}")

    def _rows(self, page: str) -> Iterator[Any]:
        """Iterate over the rows of a statement, page by page."""
        last = b""
        while True:
            with self._connection() as connection:
                rows = connection.execute(page, (last, _PAGE)).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def _open(self, options: str) -> sqlite3.Connection:
        uri = f"file:{quote(str(self._path.absolute()))}?{options}"
        connection = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
            connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _first(row: tuple[object, ...] | None) -> object:
    return row[0] if row else None
