"""Catalog of the documented APIs, with lookup by name and full-text search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from threading import Lock

from toolserver.calls.naming import api_key
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.search_index import SearchIndex, search_terms


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
        self._index: SearchIndex | None = None
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

    def search(self, words: str, limit: int = 20, offset: int = 0) -> list[ApiSpec]:
        """Return the APIs with any of `words` in their names or descriptions, the best match first (BM25).

        Words of three letters and more also match as prefixes (`weath` finds weather). Without words, return
        all APIs in their order.
        """
        ordered = self._in_order()
        terms = search_terms(words)
        if not terms:
            return list(ordered[offset : offset + limit])
        with self._lock:
            if self._index is None:
                self._index = SearchIndex(ordered)
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
