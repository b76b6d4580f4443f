import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolserver.numbered_calls import answer, key_of, numbered_call
from toolserver.cache import PutResult, ResponseCache
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.errors import CacheError, ConflictError, DataError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CALL = ToolCall("Video, Images", "Bing Video-Search", "ID", {"b": 1, "a": [2]})


@pytest.fixture
def cache(place: str) -> Iterator[ResponseCache]:
    with ResponseCache(place) as opened:
        yield opened
        assert list(opened.verify()) == []


def test_a_recording_comes_back_as_it_was_put(cache: ResponseCache) -> None:
    body = '{"error": "no — key",  "response": {"b": 1.50, "a": "é"}}'.encode()  # not as json.dumps would write it
    put = cache.put(
        CALL, body, Outcome.UNAUTHORIZED, Provenance.LIVE, source="upstream", recorded_at="2026-01-02T03:04:05Z"
    )
    entry = cache.get(key_of(CALL))
    assert put is PutResult.ADDED
    assert entry is not None
    assert entry.response == ToolResponse(body, Outcome.UNAUTHORIZED, Provenance.LIVE)
    call, source, recorded_at = entry.describe()
    assert (call.category, call.tool, call.api) == ("Video_Images", "bing_video_search", "is_id")
    assert json.dumps(call.arguments) == '{"b": 1, "a": [2]}'  # in the order in which they were recorded
    assert (source, recorded_at) == ("upstream", "2026-01-02T03:04:05Z")


def test_what_is_not_recorded_is_none(cache: ResponseCache) -> None:
    assert cache.get(key_of(CALL)) is None
    assert len(cache) == 0


def test_when_it_was_recorded_never_reaches_the_response(cache: ResponseCache) -> None:
    cache.put(numbered_call(1), answer(1), recorded_at="yesterday", source="here")
    cache.put(numbered_call(2), answer(1), recorded_at="today", source="there")
    first, second = cache.get(key_of(numbered_call(1))), cache.get(key_of(numbered_call(2)))
    assert first is not None
    assert second is not None
    assert first.response == second.response


@given(response=json_values, error=st.text(max_size=5))
def test_every_answer_that_can_be_written_is_kept_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, response: Any, error: str
) -> None:
    body = encode_body(error, response)
    path = tmp_path_factory.mktemp("bodies")
    with ResponseCache(path) as cache:
        cache.put(CALL, body)
    with ResponseCache(path, read_only=True) as cache:
        entry = cache.get(key_of(CALL))
        assert entry is not None
        assert entry.body == body
        assert entry.response.error == error
        assert list(cache.verify()) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"error": ""}', b'{"error": "", "response": NaN}', b"\xff\xfe{\x00}\x00"]
)
def test_a_body_that_could_not_be_served_is_refused(cache: ResponseCache, body: bytes) -> None:
    with pytest.raises(DataError, match="body"):
        cache.put(CALL, body)
    assert len(cache) == 0


@pytest.mark.parametrize("arguments", ['{"a": 1}', {1: 2}, {"a": {3}}])
def test_arguments_that_are_no_object_are_refused(cache: ResponseCache, arguments: Any) -> None:
    with pytest.raises(DataError, match="argument"):
        cache.put(CALL._replace(arguments=arguments), answer(1))


@pytest.mark.parametrize(
    ("on_conflict", "result", "kept"),
    [("keep", PutResult.KEPT, "first"), ("replace", PutResult.REPLACED, "second")],
)
def test_a_second_answer_is_a_conflict(cache: ResponseCache, on_conflict: Any, result: PutResult, kept: str) -> None:
    cache.put(CALL, answer(1, "first"))
    assert cache.get(key_of(CALL)) is not None  # now it is in memory, too
    assert cache.put(CALL, answer(1, "second"), on_conflict=on_conflict) is result
    entry = cache.get(key_of(CALL))
    assert entry is not None
    assert entry.body == answer(1, kept)
    assert len(cache) == 1


def test_a_conflict_can_be_an_error(cache: ResponseCache) -> None:
    cache.put(CALL, answer(1, "first"))
    with pytest.raises(ConflictError, match="Bing Video-Search"):
        cache.put(CALL, answer(1, "second"), on_conflict="error")
    assert cache.put(CALL, answer(1, "first"), on_conflict="error") is PutResult.UNCHANGED


def test_another_spelling_or_order_is_the_same_call(cache: ResponseCache) -> None:
    cache.put(CALL, answer(1))
    other = ToolCall("Video_Images", "bing_video_search", "is_id_for_bing_video_search", {"a": [2], "b": 1})
    assert cache.put(other, answer(1)) is PutResult.UNCHANGED


def test_a_generated_answer_does_not_become_a_recorded_one(cache: ResponseCache) -> None:
    cache.put(CALL, answer(1), provenance=Provenance.GENERATED)
    assert cache.put(CALL, answer(1), provenance=Provenance.RECORDED) is PutResult.KEPT
    entry = cache.get(key_of(CALL))
    assert entry is not None
    assert entry.provenance is Provenance.GENERATED


def put_all_at_once(cache: ResponseCache, bodies: dict[int, bytes]) -> None:
    with cache.transaction():
        for number, body in bodies.items():
            cache.put(numbered_call(number), body)


def test_a_transaction_is_stored_whole_or_not_at_all(cache: ResponseCache) -> None:
    put_all_at_once(cache, {number: answer(number) for number in range(10)})
    with pytest.raises(DataError):
        put_all_at_once(cache, {number: answer(number) for number in range(10, 19)} | {19: b"damaged"})
    assert len(cache) == len(list(cache.entries())) == 10
    assert cache.get(key_of(numbered_call(10))) is None


def test_entries_come_in_the_same_order_whatever_the_order_of_recording(tmp_path: Path, place: str) -> None:
    orders = []
    for path, numbers in ((tmp_path / "up", range(2500)), (place, range(2499, -1, -1))):
        with ResponseCache(path) as cache, cache.transaction():
            for number in numbers:
                cache.put(numbered_call(number), answer(number))
        with ResponseCache(path, read_only=True) as cache:
            orders.append([(key, entry.body) for key, entry in cache.entries()])
            known = {key for key, _ in orders[-1][::2]}
            assert [(key, entry.body) for key, entry in cache.entries(known=known)] == orders[-1][1::2]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 2500


def test_large_answers_stay_in_the_database(cache: ResponseCache) -> None:
    body = encode_body("", "x" * 5_000_000)
    cache.put(CALL, body)
    entry = cache.get(key_of(CALL))
    assert entry is not None
    assert entry.body == body
    if not cache.remote:
        assert {path.name for path in Path(cache.location).iterdir()} <= {
            "cache.db",
            "cache.db-wal",
            "cache.db-shm",
            "cache.tally",
        }


def test_nothing_is_ever_evicted(tmp_path: Path) -> None:
    # diskcache culls beyond its size limit on every write; with the limit at one byte it must not.
    with ResponseCache(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        settings = dict(connection.execute("SELECT key, value FROM Settings"))
    connection.close()
    assert settings["eviction_policy"] == "none"
    assert settings["cull_limit"] == 0
    assert settings["size_limit"] > 2**60


@pytest.mark.parametrize("entries", [0, 1, 8, 1000])
def test_the_memory_in_front_is_bounded_and_changes_no_answer(place: str, entries: int) -> None:
    with ResponseCache(place, memory_entries=entries, memory_bytes=20_000) as cache:
        for number in range(100):
            cache.put(numbered_call(number), answer(number))
        for number in [*range(100), *range(50), 3, 3, *range(99, -1, -1)]:
            entry = cache.get(key_of(numbered_call(number)))
            assert entry is not None
            assert entry.body == answer(number)
            assert cache.stats().in_memory <= min(entries, 20_000 // len(answer(0)))


def test_read_only_reads_and_does_not_write(place: str) -> None:
    with ResponseCache(place) as cache:
        cache.put(CALL, answer(1))
    with ResponseCache(place, read_only=True) as cache:
        assert cache.get(key_of(CALL)) is not None
        assert len(cache) == 1
        with pytest.raises(CacheError, match="reading only"):
            cache.put(numbered_call(1), answer(1))
        with pytest.raises(CacheError, match="reading only"):
            cache.transaction()


def test_there_must_be_a_cache_to_read(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="toolserver import"):
        ResponseCache(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"something else" * 1000)
    for read_only in (True, False):
        with pytest.raises(CacheError, match=r"cache\.db"):
            ResponseCache(tmp_path, read_only=read_only)


def test_a_cache_of_another_program_is_refused(tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path)) as foreign:
        foreign["theirs"] = "value"
    for read_only in (True, False):
        with pytest.raises(CacheError, match="format 0"):
            ResponseCache(tmp_path, read_only=read_only)


def test_a_cache_of_another_version_is_refused(tmp_path: Path) -> None:
    with ResponseCache(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(CacheError, match="format 99"):
            ResponseCache(tmp_path, read_only=read_only)


def damage(path: Path, statement: str) -> None:
    with sqlite3.connect(path / "cache.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        damage(tmp_path, "CREATE TRIGGER full BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        with pytest.raises(CacheError, match=r"cannot write to .*: disk is full"):
            cache.put(CALL, answer(1))
        assert cache.get(key_of(CALL)) is None


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE Cache SET value = CAST(replace(CAST(hex(value) AS TEXT), '78', '79') AS BLOB)", "hash"),
        ("UPDATE Cache SET value = 'text'", "another kind"),
        ("UPDATE Cache SET value = 3.5", "another kind"),
        ("UPDATE Cache SET key = 'text'", "another kind"),
        ("UPDATE Cache SET value = substr(value, 1, 40)", "hash"),
        ("UPDATE Cache SET value = x''", "hash"),
        ("UPDATE Cache SET key = zeroblob(16)", "hash"),
        ("DELETE FROM Settings WHERE key = 'count'", "none were counted"),
        ("UPDATE Settings SET value = 8 WHERE key = 'count'", "7 were counted"),
    ],
)
def test_verify_finds_damage(tmp_path: Path, statement: str, reason: str) -> None:
    with ResponseCache(tmp_path) as cache:
        cache.put(CALL, encode_body("", "x" * 100))
    recordings = " WHERE typeof(key) = 'blob'" if statement.startswith("UPDATE Cache") else ""  # not the tally
    damage(tmp_path, statement + recordings)
    with ResponseCache(tmp_path, read_only=True) as cache:
        (problem,) = cache.verify()
        assert reason in problem.reason
