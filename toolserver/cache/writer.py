"""Writer of a cache's database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import diskcache

from toolserver.cache.database import DATABASE, FILENAME_INDEX, FORMAT, fold_log, refuse_foreign, run_statement
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
        except (OSError, sqlite3.Error) as error:
            raise CacheError(f"cannot write to {directory} ({error}); is it meant to be opened read-only?") from error

    def add(self, key: bytes, value: bytes) -> bool:
        """Store `value` unless `key` has one. Return whether it was stored."""
        with self._failures():
            return bool(self._cache.add(key, value, retry=True))

    def replace(self, key: bytes, value: bytes) -> None:
        """Store `value`, replacing an existing one."""
        with self._failures():
            self._cache.set(key, value, retry=True)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, including writes of the open transaction."""
        with self._failures():
            value: bytes | None = self._cache.get(key)
        return value

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all writes in the context together or not at all. Other writers wait."""
        with self._failures(), self._cache.transact(retry=True):
            yield

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CacheError(f"cannot write to {self._cache.directory}: {error}") from error

    def close(self) -> None:
        """Merge the write-ahead log into the database and close it."""
        self._cache.close()
        fold_log(Path(self._cache.directory))


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
