"""Which APIs exist."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Self
from urllib.parse import quote

import orjson

from toolserver.cache.redis_catalog import merge_rows, read_rows
from toolserver.cache.redis_url import is_redis
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.search_index import SearchIndex, search_terms
from toolserver.catalog.views import documentation, read_documentation
from toolserver.errors import CacheError
from toolserver.service.naming import api_key

FILE = "catalog.db"
"""Name of the catalog's file in a cache directory."""

_FORMAT = 1


class AddResult(StrEnum):
    """What became of an API on its way into a catalog."""

    ADDED = "added"
    UNCHANGED = "unchanged"  # documented before, in the same words (missing parts are filled in)
    KEPT = "kept"  # documented before, in other words: the first documentation stays


class Catalog:
    """The documentation of every API, by standardised names. Iterates in the order of those names.

    Looking up and searching are safe from several threads; adding is not.

    Args:
        specs: The first documentation of an API counts; see `add`.
    """

    def __init__(self, specs: Iterable[ApiSpec] = ()) -> None:
        self._specs: dict[tuple[str, str, str], ApiSpec] = {}
        self._ordered: tuple[ApiSpec, ...] | None = None
        self._index: SearchIndex | None = None
        self._lock = Lock()
        for spec in specs:
            self.add(spec)

    def add(self, spec: ApiSpec) -> AddResult:
        """Add an API. Where it is documented already, only what is missing there is taken over."""
        self._ordered = self._index = None
        present = self._specs.get(spec.key)
        if present is None:
            self._specs[spec.key] = spec
            return AddResult.ADDED
        self._specs[spec.key] = merged = _fill(present, spec)
        return AddResult.UNCHANGED if merged == _fill(spec, present) else AddResult.KEPT

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """The API of these names, in any spelling that standardises to them, or `None`."""
        return self._specs.get(api_key(category, tool, api))

    def search(self, words: str, limit: int = 20, offset: int = 0) -> list[ApiSpec]:
        """APIs that have any of `words` in their names or descriptions, the best match first (BM25).

        Words of three letters and more match from their beginning (`weath` finds weather). Without words: all APIs,
        in their order.
        """
        ordered = self._in_order()
        terms = search_terms(words)
        if not terms:
            return list(ordered[offset : offset + limit])
        with self._lock:
            if self._index is None:
                self._index = SearchIndex(ordered)
            return [ordered[position] for position in self._index.find(terms, limit, offset)]

    def save(self, place: str | Path) -> None:
        """Add these APIs to the catalog of the cache at `place`. Several processes may do so at once."""
        if is_redis(place):
            merge_rows(place, lambda present: dict(_rows(_merged(present, self))))
            return
        path = Path(place) / FILE
        try:
            with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
                _merge_into(connection, self, path)
        except sqlite3.Error as error:
            raise CacheError(f"cannot write the catalog in {place}: {error}") from error

    @classmethod
    def load(cls, place: str | Path) -> Self:
        """The catalog of the cache at `place` (a directory or a `redis://` URL), empty when none was saved there.

        Raises:
            CacheError: It is damaged, of another version or out of reach.
            ConfigurationError: The URL is malformed, or the package `redis` is not installed.
        """
        if is_redis(place):
            return cls(_read(read_rows(place)))
        path = Path(place) / FILE
        if not path.is_file():
            return cls()
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
                return cls(_read(_stored(connection, path)))
        except sqlite3.Error as error:
            raise CacheError(f"cannot read {path}: {error}") from error

    def __iter__(self) -> Iterator[ApiSpec]:
        return iter(self._in_order())

    def __len__(self) -> int:
        return len(self._specs)

    def _in_order(self) -> tuple[ApiSpec, ...]:
        if self._ordered is None:
            self._ordered = tuple(self._specs[key] for key in sorted(self._specs))
        return self._ordered


def _fill(spec: ApiSpec, other: ApiSpec) -> ApiSpec:
    """`spec`, with the parts that not every source has taken from `other` where they are missing."""
    if spec.tool_description and spec.template_response is not None:
        return spec
    template = other.template_response if spec.template_response is None else spec.template_response
    return replace(spec, tool_description=spec.tool_description or other.tool_description, template_response=template)


def _merge_into(connection: sqlite3.Connection, catalog: Catalog, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("CREATE TABLE apis (key TEXT PRIMARY KEY, documentation BLOB NOT NULL)")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    whole = _merged(_stored(connection, path), catalog)
    connection.executemany(
        "INSERT OR REPLACE INTO apis VALUES (?, ?)", ((key.decode(), row) for key, row in _rows(whole))
    )
    connection.execute("COMMIT")


def _merged(present: Iterable[bytes], catalog: Catalog) -> Catalog:
    """The APIs of rows, and those of `catalog`."""
    whole = Catalog(_read(present))
    for spec in catalog:
        whole.add(spec)
    return whole


def _rows(catalog: Catalog) -> Iterator[tuple[bytes, bytes]]:
    return (("\n".join(spec.key).encode(), orjson.dumps(documentation(spec))) for spec in catalog)


def _read(rows: Iterable[bytes]) -> Iterator[ApiSpec]:
    return (read_documentation(orjson.loads(row)) for row in rows)


def _stored(connection: sqlite3.Connection, path: Path) -> Iterator[bytes]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _FORMAT:
        raise CacheError(f"{path} has format {version}; this version of toolserver reads format {_FORMAT}")
    rows = connection.execute("SELECT documentation FROM apis ORDER BY key").fetchall()
    return (row for (row,) in rows)
