"""Save and load the catalog of a cache: a SQLite file in its directory, or a hash in Redis.

It also holds the names of imports that have begun and not finished.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from toolserver.cache.database import refuse_statements
from toolserver.cache.redis_url import is_redis
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import Catalog
from toolserver.catalog.views import documentation, read_documentation
from toolserver.errors import CacheError, DataError

if TYPE_CHECKING:
    from toolserver.cache.redis_server import RedisServer

FILE = "catalog.db"
"""Name of the catalog's file in a cache directory."""

_FORMAT = 1
_APIS = "CREATE TABLE apis (key TEXT PRIMARY KEY, documentation BLOB NOT NULL)"
_IMPORTS = "CREATE TABLE imports (key TEXT PRIMARY KEY)"


def load_catalog(place: str | Path) -> Catalog:
    """Load the catalog of the cache at `place` (a directory or a `redis://` URL); empty when none was saved there.

    Raises:
        CacheError: The catalog is damaged, of another version or out of reach.
        ConfigurationError: The URL is malformed, or the package `redis` is not installed.
    """
    if is_redis(place):
        return Catalog(_decoded(_redis_rows(place)))
    return Catalog(_decoded(_read(place, "apis", "documentation")))


def save_catalog(catalog: Catalog, place: str | Path) -> None:
    """Add the APIs of `catalog` to the catalog of the cache at `place`. Several processes may do so at once."""
    if is_redis(place):
        _merge_into_redis(catalog, place)
        return
    with _writing(place) as connection:
        present = _column(connection, "apis", "documentation")
        rows = ((key.decode(), row) for key, row in _merged(present, catalog))
        connection.executemany("INSERT OR REPLACE INTO apis VALUES (?, ?)", rows)


def begin_import(place: str | Path, source: str) -> bool:
    """Note that the import of `source` has begun. Return False if an earlier one has not finished."""
    if is_redis(place):
        with _redis(place) as server, server.failures("write to"):
            return bool(server.client.hset(server.imports, source, b""))
    with _writing(place) as connection:
        return connection.execute("INSERT OR IGNORE INTO imports VALUES (?)", (source,)).rowcount == 1


def finish_import(place: str | Path, source: str) -> None:
    """Note that the import of `source` has finished: recordings and catalog are stored."""
    if is_redis(place):
        with _redis(place) as server, server.failures("write to"):
            server.client.hdel(server.imports, source)
        return
    with _writing(place) as connection:
        connection.execute("DELETE FROM imports WHERE key = ?", (source,))


def unfinished_imports(place: str | Path) -> list[str]:
    """Return the sources of imports that are at work or were interrupted. Repeating an import finishes it."""
    if is_redis(place):
        with _redis(place) as server, server.failures("read"):
            return sorted(source.decode() for source in server.client.hkeys(server.imports))
    return _read(place, "imports", "key")


def _merge_into_redis(catalog: Catalog, url: str) -> None:
    """Write the merged rows; redis-py repeats the transaction if another writer changes them meanwhile."""
    with _redis(url) as server:
        server.claim()

        def write(pipeline: Any) -> None:
            present: dict[bytes, bytes] = pipeline.hgetall(server.catalog)
            merged = _merged((present[key] for key in sorted(present)), catalog)
            changed = {key: row for key, row in merged if present.get(key) != row}
            pipeline.multi()
            if changed:
                pipeline.hset(server.catalog, mapping=changed)

        with server.failures("write to"):
            server.client.transaction(write, server.catalog)


def _redis_rows(url: str) -> list[bytes]:
    with _redis(url) as server:
        server.is_claimed()
        with server.failures("read"):
            rows: dict[bytes, bytes] = server.client.hgetall(server.catalog)
    return [rows[key] for key in sorted(rows)]


def _redis(url: str | Path) -> AbstractContextManager[RedisServer]:
    from toolserver.cache.redis_server import connect  # imports the optional package `redis`

    return closing(connect(str(url)))


def _merged(present: Iterable[bytes], catalog: Catalog) -> Iterator[tuple[bytes, bytes]]:
    """Keys and rows of the APIs in the rows `present`, with those of `catalog` added."""
    merged = Catalog(_decoded(present))
    for spec in catalog:
        merged.add(spec)
    return (("\n".join(spec.key).encode(), orjson.dumps(documentation(spec))) for spec in merged)


def _decoded(rows: Iterable[bytes]) -> Iterator[ApiSpec]:
    for row in rows:
        try:
            spec = read_documentation(orjson.loads(row))
        except (ValueError, TypeError, DataError) as error:
            raise CacheError(
                f"the catalog holds an API that cannot be read ({error}); import the recordings into a new directory"
            ) from None
        yield spec


def _read(place: str | Path, table: str, column: str) -> list[Any]:
    """Return a column of a table, in the order of keys; nothing if there is no file."""
    path = Path(place) / FILE
    if not path.is_file():
        return []
    try:
        try:
            return _read_in_mode("ro", path, table, column)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            return _read_in_mode("rw", path, table, column)  # rolls back what a killed writer left in the journal
    except sqlite3.Error as error:
        raise CacheError(f"cannot read {path}: {error}") from error


def _read_in_mode(mode: str, path: Path, table: str, column: str) -> list[Any]:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return []  # a writer was killed before it had made the tables
        _check(connection, path)
        return _column(connection, table, column)


@contextmanager
def _writing(place: str | Path) -> Iterator[sqlite3.Connection]:
    """Give a connection in a transaction; tables are made."""
    path = Path(place) / FILE
    try:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute(_APIS)
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            _check(connection, path)
            connection.execute(_IMPORTS.replace("TABLE", "TABLE IF NOT EXISTS"))
            yield connection
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise CacheError(f"cannot write the catalog in {place}: {error}") from error


def _check(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _FORMAT:
        raise CacheError(f"{path} has format {version}; this version of toolserver reads format {_FORMAT}")
    refuse_statements(connection, path, {_APIS, _IMPORTS})


def _column(connection: sqlite3.Connection, table: str, column: str) -> list[Any]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if table == "imports" and table not in tables:
        return []  # written by an earlier version
    rows = connection.execute(f"SELECT {column} FROM {table} ORDER BY key").fetchall()  # noqa: S608
    return [value for (value,) in rows]
