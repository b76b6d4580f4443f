"""Writer of a cache's database."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import diskcache

from toolserver.cache.database import DATABASE, ENTRIES, FILENAME_INDEX, FORMAT, fold_log, refuse_foreign, run_statement
from toolserver.cache.tally import KEY, Tally, TallyFile
from toolserver.errors import CacheError

# diskcache's defaults delete the oldest entries beyond 1 GiB; nothing may be deleted here. All values are stored in the
# database, whatever their size: a killed writer could leave a value's file without its row or a row without its file.
# Every setting is given, so that none is taken from the database.
_SETTINGS: dict[str, Any] = diskcache.core.DEFAULT_SETTINGS | {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 2**62,
    "sqlite_auto_vacuum": 0,
}


class Writer:
    """Writes a store. Several threads and processes may write at once; the first value of a key is kept."""

    def __init__(self, directory: Path) -> None:
        _check_ours(directory / DATABASE)
        try:
            self._cache = diskcache.Cache(str(directory), timeout=60, disk=_BytesOnly, **_SETTINGS)
            run_statement(directory / DATABASE, FILENAME_INDEX.replace("INDEX", "INDEX IF NOT EXISTS"))
            run_statement(directory / DATABASE, f"PRAGMA user_version = {FORMAT}")
            self._tally_file = TallyFile(directory)
            self._pending = _Pending()
            self._renew_tally()
        except (OSError, sqlite3.Error) as error:
            raise CacheError(f"cannot write to {directory} ({error}); is it meant to be opened read-only?") from error

    def add(self, key: bytes, value: bytes) -> bool:
        """Store `value` unless `key` has one. Return whether it was stored."""
        with self.transaction():
            added = bool(self._cache.add(key, value))
            if added:
                self._pending.change = self._change().plus(Tally.of(value))
        return added

    def replace(self, key: bytes, value: bytes) -> None:
        """Store `value`, replacing an existing one."""
        with self.transaction():
            present = self.get(key)
            self._cache.set(key, value)
            change = self._change() if present is None else self._change().minus(Tally.of(present))
            self._pending.change = change.plus(Tally.of(value))

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, including writes of the open transaction."""
        with self._failures():
            value: bytes | None = self._cache.get(key)
        return value

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all writes in the context together or not at all. Other writers wait. A nested one joins the outer."""
        if self._pending.change is not None:
            yield
            return
        self._pending.change = Tally()
        try:
            with self._failures(), ExitStack() as after_commit, self._locked():
                yield
                change = self._change()
                if change != Tally():
                    stored = Tally.decode(self._cache.get(KEY)) or Tally()
                    self._cache.set(KEY, stored.plus(change).encode())
                    after_commit.enter_context(self._tally_file.commit(stored, change))
        finally:
            self._pending.change = None

    def _change(self) -> Tally:
        """Return the change by the open transaction."""
        assert self._pending.change is not None
        return self._pending.change

    def _renew_tally(self) -> None:
        """Count the entries of a cache that an earlier version has written or added to, and make a missing file."""
        with self._locked():
            stored = Tally.decode(self._cache.get(KEY))
            if stored is None or stored.entries < len(self._cache) - 1:
                with closing(sqlite3.connect(Path(self._cache.directory) / DATABASE)) as connection:
                    stored = Tally.of_rows(connection, ENTRIES)
                self._cache.set(KEY, stored.encode())
            self._tally_file.renew(stored)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the database's write lock, in a transaction."""
        with ExitStack() as stack:
            while True:  # diskcache would repeat after any error, not only while another writer is at work
                try:
                    stack.enter_context(self._cache.transact())
                    break
                except diskcache.Timeout as error:
                    reason = error.__context__
                    if not isinstance(reason, sqlite3.Error) or reason.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise reason or error from error
            yield

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason: BaseException = error
            while isinstance(reason.__context__, sqlite3.Error):  # after it, rolling back may fail as well
                reason = reason.__context__
            raise CacheError(f"cannot write to {self._cache.directory}: {reason}") from error

    def close(self) -> None:
        """Merge the write-ahead log into the database and close it."""
        self._cache.close()
        fold_log(Path(self._cache.directory))


class _Pending(threading.local):
    """Change of the tally by the thread's open transaction; `None` without a transaction."""

    change: Tally | None = None


class _BytesOnly(diskcache.Disk):  # type: ignore[misc]
    """Storage of raw bytes. It loads no pickle, and touches no file that a database names (CVE-2025-69872)."""

    def get(self, key: bytes, raw: bool) -> bytes:
        """Return a raw key. Raises `CacheError` for a pickled one."""
        if not raw:
            raise CacheError("the store holds a pickled key; see `toolserver verify`")
        return key

    def fetch(self, mode: int, filename: object, value: object, read: bool) -> bytes:  # noqa: ARG002 (diskcache's signature)
        """Return a raw value. Raises `CacheError` for a pickle, a file or text."""
        if mode != diskcache.core.MODE_RAW or not isinstance(value, bytes):
            raise CacheError("the store holds a value that is not raw bytes; see `toolserver verify`")
        return value

    def remove(self, file_path: object) -> None:
        """Keep the file: values have none, so another program wrote that name."""


def _check_ours(database: Path) -> None:
    """Raise `CacheError` for a database that is not a cache of this version."""
    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'Cache'").fetchone()
            # A killed writer may leave an empty table without the version.
            used = tables and connection.execute("SELECT 1 FROM Cache LIMIT 1").fetchone()
            if version not in (0, FORMAT) or (version == 0 and used):
                raise CacheError(f"{database} is not a cache of this version of toolserver (format {version})")
            refuse_foreign(connection, database)
    except sqlite3.Error as error:
        raise CacheError(f"cannot open {database}: {error}") from error
