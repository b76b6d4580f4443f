"""Catalog of the documented APIs, with lookup by name and full-text search."""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from threading import Lock

from toolserver.calls.naming import api_key
from toolserver.catalog.api_schema import ApiSpec

_PREFIX = 3  # minimum number of letters of a word that matches as a prefix


class AddResult(StrEnum):
    """Result of adding an API to a catalog."""

    ADDED = "added"
    UNCHANGED = "unchanged"  # already present with the same documentation (missing parts are filled in)
    KEPT = "kept"  # already present with other documentation, which is kept


class Catalog:
    """Documentation of every API by standardised names. Iterates in the order of those names.

    Look-ups and searches are thread-safe; `add` is not.

    Args:
        specs: Initial APIs; see `add`.
    """

    def __init__(self, specs: Iterable[ApiSpec] = ()) -> None:
        self._specs: dict[tuple[str, str, str], ApiSpec] = {}
        self._ordered: tuple[ApiSpec, ...] | None = None
        self._index: _SearchIndex | None = None
        self._lock = Lock()
        for spec in specs:
            self.add(spec)

    def add(self, spec: ApiSpec) -> AddResult:
        """Add an API. If it is present, only its missing parts are filled in."""
        self._ordered = self._index = None
        present = self._specs.get(spec.key)
        if present is None:
            self._specs[spec.key] = spec
            return AddResult.ADDED
        self._specs[spec.key] = merged = _fill(present, spec)
        return AddResult.UNCHANGED if merged == _fill(spec, present) else AddResult.KEPT

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """Return the API with these names, in any spelling that standardises to them, or `None`."""
        return self._specs.get(api_key(category, tool, api))

    def search(self, words: str, limit: int = 20, offset: int = 0, max_words: int | None = 32) -> list[ApiSpec]:
        """Return the APIs with any of `words` in their names or descriptions, the best match first (BM25).

        Words of three letters and more also match as prefixes (`weath` finds weather). Without words, return
        all APIs in their order. The first `max_words` distinct words count, which bounds the cost of a request; `None`
        counts all.
        """
        ordered = self._in_order()
        terms = list(dict.fromkeys(re.findall(r"[^\W_]+", _words(words).lower())))[:max_words]
        if not terms:
            return list(ordered[offset : offset + limit])
        with self._lock:
            if self._index is None:
                self._index = _SearchIndex(ordered)
            return [ordered[position] for position in self._index.find(terms, limit, offset)]

    def __iter__(self) -> Iterator[ApiSpec]:
        return iter(self._in_order())

    def __len__(self) -> int:
        return len(self._specs)

    def _in_order(self) -> tuple[ApiSpec, ...]:
        if self._ordered is None:
            self._ordered = tuple(self._specs[key] for key in sorted(self._specs))
        return self._ordered


def _fill(spec: ApiSpec, other: ApiSpec) -> ApiSpec:
    """Return `spec` with its missing optional parts taken from `other`."""
    if spec.tool_description and spec.template_response is not None:
        return spec
    template = other.template_response if spec.template_response is None else spec.template_response
    return replace(spec, tool_description=spec.tool_description or other.tool_description, template_response=template)


class _SearchIndex:
    """Full-text search over a sequence of APIs (SQLite's FTS5, in memory)."""

    # Weights: a match in the API's name counts more than one in its tool, category or description.
    _RANK = "bm25(apis, 10.0, 5.0, 2.0, 1.0)"

    def __init__(self, specs: Iterable[ApiSpec]) -> None:
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute("CREATE VIRTUAL TABLE apis USING fts5(name, tool, category, description)")
        rows = ((position, *_searchable(spec)) for position, spec in enumerate(specs, 1))
        self._connection.executemany(
            "INSERT INTO apis(rowid, name, tool, category, description) VALUES (?, ?, ?, ?, ?)", rows
        )

    def find(self, terms: Iterable[str], limit: int, offset: int) -> list[int]:
        """Return the positions of the APIs that match any of `terms`, the best match first."""
        query = " OR ".join(f'"{term}"*' if len(term) >= _PREFIX else f'"{term}"' for term in terms)
        found = self._connection.execute(
            f"SELECT rowid FROM apis WHERE apis MATCH ? ORDER BY {self._RANK}, rowid LIMIT ? OFFSET ?",  # noqa: S608
            (query, limit, offset),
        )
        return [rowid - 1 for (rowid,) in found]


def _searchable(spec: ApiSpec) -> tuple[str, str, str, str]:
    description = f"{spec.description} {spec.tool_description}"
    return _words(spec.name), _words(spec.tool), _words(spec.category), description


def _words(name: str) -> str:
    """Split names like `getOrderById` and `Get_Order` into words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")
