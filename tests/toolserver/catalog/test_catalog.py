import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolserver.apis import APIS, CARDS, SCORES, WEATHER
from toolserver.cache.catalog_store import load_catalog, save_catalog
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.errors import CacheError


def whole(catalog: Catalog) -> list[tuple[ApiSpec, object]]:
    """Everything in a catalog; comparing APIs alone would leave out the templates."""
    return [(spec, spec.template_response) for spec in catalog]


@pytest.mark.parametrize(
    "names",
    [
        ("Weather", "Sky Watch", "getForecast"),
        ("Weather", "sky_watch", "getforecast"),
        ("Weather", "sky_watch_for_Weather", "getforecast_for_sky_watch"),
    ],
)
def test_an_api_is_found_under_every_spelling(names: tuple[str, str, str]) -> None:
    assert Catalog(APIS).get(*names) == WEATHER


def test_what_is_not_there_is_none() -> None:
    assert Catalog(APIS).get("Weather", "Sky Watch", "Cards") is None
    assert Catalog().get("", "", "") is None


def test_the_order_does_not_depend_on_the_order_of_adding() -> None:
    assert list(Catalog(APIS)) == list(Catalog(reversed(APIS))) == [CARDS, SCORES, WEATHER]
    assert len(Catalog(APIS)) == 3


def test_the_first_documentation_stays_and_the_second_fills_in() -> None:
    bare = replace(WEATHER, tool_description="", template_response=None)
    catalog = Catalog()
    assert catalog.add(bare) is AddResult.ADDED
    assert catalog.add(WEATHER) is AddResult.UNCHANGED
    assert whole(catalog) == whole(Catalog([WEATHER]))
    assert catalog.add(replace(WEATHER, description="Something else")) is AddResult.KEPT
    assert whole(catalog) == whole(Catalog([WEATHER]))
    assert catalog.add(bare) is AddResult.UNCHANGED


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("forecast", [WEATHER]),
        ("weath", [WEATHER]),
        ("Live SCORES", [SCORES]),
        ("red city", [CARDS, WEATHER]),
        ("goal_line cards", [CARDS, SCORES]),
        ("nothing of the kind's", [SCORES, WEATHER]),  # a short word counts, but not as the beginning of others
        ("zebra", []),
        ('"', [CARDS, SCORES, WEATHER]),
        ("", [CARDS, SCORES, WEATHER]),
    ],
)
def test_search_finds_any_of_the_words(words: str, found: list[ApiSpec]) -> None:
    assert sorted(spec.key for spec in Catalog(APIS).search(words)) == sorted(spec.key for spec in found)


def test_search_puts_the_best_match_first() -> None:
    assert Catalog(APIS).search("live scores of a match with cards")[0] == SCORES
    assert Catalog(APIS).search("yellow cards")[0] == CARDS


def test_search_is_paged_without_gaps() -> None:
    many = Catalog(replace(SCORES, name=f"Scores {number}") for number in range(25))
    pages = [many.search("scores", limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert {spec.key for page in pages for spec in page} == {spec.key for spec in many}


def test_search_sees_what_was_added_since() -> None:
    catalog = Catalog([WEATHER])
    assert catalog.search("cards") == []
    catalog.add(CARDS)
    assert catalog.search("cards") == [CARDS]


@given(st.text(st.characters(exclude_categories=())))
def test_any_words_can_be_searched_for(words: str) -> None:
    Catalog(APIS).search(words)


def test_search_from_several_threads() -> None:
    catalog = Catalog(APIS)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: catalog.search("cards")[0].key, range(100))) == {CARDS.key}


def test_a_saved_catalog_is_loaded_as_it_was(tmp_path: Path) -> None:
    save_catalog(Catalog(APIS), tmp_path)
    assert whole(load_catalog(tmp_path)) == whole(Catalog(APIS))


def test_where_nothing_was_saved_the_catalog_is_empty(tmp_path: Path) -> None:
    assert len(load_catalog(tmp_path)) == 0
    assert list(tmp_path.iterdir()) == []


def test_saving_adds_to_what_another_process_saved_meanwhile(tmp_path: Path) -> None:
    first, second = load_catalog(tmp_path), load_catalog(tmp_path)
    first.add(WEATHER)
    second.add(CARDS)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda catalog: save_catalog(catalog, tmp_path), [first, second]))
    assert list(load_catalog(tmp_path)) == [CARDS, WEATHER]


def test_a_damaged_catalog_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"no database" * 100)
    with pytest.raises(CacheError, match=r"catalog\.db"):
        load_catalog(tmp_path)
    with pytest.raises(CacheError, match="catalog"):
        save_catalog(Catalog(APIS), tmp_path)


def test_a_catalog_of_another_version_is_refused(tmp_path: Path) -> None:
    save_catalog(Catalog(APIS), tmp_path)
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CacheError, match="format 99"):
        load_catalog(tmp_path)
    with pytest.raises(CacheError, match="format 99"):
        save_catalog(Catalog(APIS), tmp_path)


def test_real_documentation_is_found_by_its_words(stabletoolbench_cache: Path) -> None:
    catalog = load_catalog(stabletoolbench_cache)
    assert len(catalog) > 100
    assert catalog.search("shorten a URL")
    assert all("movie" in str(spec).lower() for spec in catalog.search("movie"))
