"""Full-text search over the documentation of APIs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from toolserver.catalog.api_schema import ApiSpec

_PREFIX = 3  # minimum number of letters of a word that matches as a prefix


class SearchIndex:
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


def search_terms(words: str) -> list[str]:
    """Split a search into words for `SearchIndex.find`, at most 32 distinct ones to bound the cost of a request."""
    return list(dict.fromkeys(re.findall(r"[^\W_]+", _words(words).lower())))[:32]


def _searchable(spec: ApiSpec) -> tuple[str, str, str, str]:
    description = f"{spec.description} {spec.tool_description}"
    return _words(spec.name), _words(spec.tool), _words(spec.category), description


def _words(name: str) -> str:
    """Split names like `getOrderById` and `Get_Order` into words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")
