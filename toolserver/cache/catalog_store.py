"""Save and load the catalog of a cache: a SQLite file in its directory, or a hash in Redis."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from toolserver.cache.database import refuse_statements
from toolserver.cache.redis_url import is_redis
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import Catalog
from toolserver.catalog.views import documentation, read_documentation
from toolserver.errors import CacheError

FILE = "catalog.db"
"""Name of the catalog's file in a cache directory."""

_FORMAT = 1
_TABLE = "CREATE TABLE apis (key TEXT PRIMARY KEY, documentation BLOB NOT NULL)"


def load_catalog(place: str | Path) -> Catalog:
    """Load the catalog of the cache at `place` (a directory or a `redis://` URL); empty when none was saved there.

    Raises:
        CacheError: The catalog is damaged, of another version or out of reach.
        ConfigurationError: The URL is malformed, or the package `redis` is not installed.
    """
    if is_redis(place):
        return Catalog(_decoded(_redis_rows(place)))
    path = Path(place) / FILE
    if not path.is_file():
        return Catalog()
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
            return Catalog(_decoded(_stored(connection, path)))
    except sqlite3.Error as error:
        raise CacheError(f"cannot read {path}: {error}") from error


def save_catalog(catalog: Catalog, place: str | Path) -> None:
    """Add the APIs of `catalog` to the catalog of the cache at `place`. Several processes may do so at once."""
    if is_redis(place):
        _merge_into_redis(catalog, place)
        return
    path = Path(place) / FILE
    try:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            rows = ((key.decode(), row) for key, row in _merged(_stored(connection, path), catalog))
            connection.executemany("INSERT OR REPLACE INTO apis VALUES (?, ?)", rows)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise CacheError(f"cannot write the catalog in {place}: {error}") from error


def _merge_into_redis(catalog: Catalog, url: str) -> None:
    """Write the merged rows; redis-py repeats the transaction if another writer changes them meanwhile."""
    from toolserver.cache.redis_server import connect

    with closing(connect(url)) as server:
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
    from toolserver.cache.redis_server import connect

    with closing(connect(url)) as server:
        server.is_claimed()
        with server.failures("read"):
            rows: dict[bytes, bytes] = server.client.hgetall(server.catalog)
    return [rows[key] for key in sorted(rows)]


def _merged(present: Iterable[bytes], catalog: Catalog) -> Iterator[tuple[bytes, bytes]]:
    """Keys and rows of the APIs in the rows `present`, with those of `catalog` added."""
    merged = Catalog(_decoded(present))
    for spec in catalog:
        merged.add(spec)
    return (("\n".join(spec.key).encode(), orjson.dumps(documentation(spec))) for spec in merged)


def _decoded(rows: Iterable[bytes]) -> Iterator[ApiSpec]:
    return (read_documentation(orjson.loads(row)) for row in rows)


def _stored(connection: sqlite3.Connection, path: Path) -> Iterator[bytes]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _FORMAT:
        raise CacheError(f"{path} has format {version}; this version of toolserver reads format {_FORMAT}")
    refuse_statements(connection, path, {_TABLE})
    rows = connection.execute("SELECT documentation FROM apis ORDER BY key").fetchall()
    return (row for (row,) in rows)
