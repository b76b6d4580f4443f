"""Catalogues of tools: a cache that is open while it changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.view.tool_sources import Catalogues
from tests.toolserver.apis import WEATHER
from tests.toolserver.serving import make_cache
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.api_schema import ApiSpec, ToolCall, encode_body
from toolserver.catalog.catalog import Catalog


def test_a_cache_is_opened_and_its_index_made_once(tmp_path: Path) -> None:
    """Whatever other catalogues are looked at in between: an index of a million recordings takes a minute."""
    catalogues = Catalogues(make_cache(tmp_path / "cache"))
    source = catalogues.source("cache", 0)
    spec = source.find(*WEATHER.key)
    found, count = source.recordings(spec)
    assert count == 2
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    for seed in (1, 2, 3):
        catalogues.source("lite", seed)
    assert catalogues.source("cache", 0).recordings(spec) == (found, count)


def test_a_changed_catalog_leaves_the_index_as_it_is_and_closes_the_earlier_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, closed = list[bytes](), list[ResponseCache]()
    entries, close = ResponseCache.entries, ResponseCache.close

    def counted(self: ResponseCache, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for key, entry in entries(self, *args, **kwargs):
            read.append(key)
            yield key, entry

    catalogues = Catalogues(make_cache(cache := tmp_path / "cache"))
    monkeypatch.setattr(ResponseCache, "entries", counted)
    assert catalogues.source("cache", 0).recordings(WEATHER)[1] == 2
    size = len(read)
    with ResponseCache(cache) as other:
        other.put(ToolCall(*WEATHER.key, {"city": "Turku"}), encode_body("", "slush"))
    save_catalog(Catalog([ApiSpec("Late", "late", "added", "")]), cache)
    monkeypatch.setattr(ResponseCache, "close", lambda self: (closed.append(self), close(self)))
    earlier, source = catalogues.source("cache", 0), catalogues.source("cache", 0)
    assert source is earlier
    assert len(closed) == 1
    assert source.recordings(WEATHER)[1] == 3
    assert len(read) == size + 1


def test_a_cache_that_was_made_again_in_its_place_is_read_again(tmp_path: Path) -> None:
    catalogues = Catalogues(make_cache(cache := tmp_path / "cache"))
    before, count = catalogues.source("cache", 0).recordings(WEATHER)
    cache.rename(tmp_path / "elsewhere")
    with ResponseCache(cache) as other:
        for city in ("Turku", "Vaasa", "Oulu", "Kemi", "Pori", "Rauma"):
            other.put(ToolCall(*WEATHER.key, {"city": city}), encode_body("", "slush"))
    save_catalog(Catalog([WEATHER]), cache)
    after, again = catalogues.source("cache", 0).recordings(WEATHER)
    assert (count, again) == (2, 6)
    assert not {each.arguments for each in before} & {each.arguments for each in after}
