"""Damage to a cache's files is found: a changed entry is refused and counted."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.toolserver.numbered_calls import answer, key_of, numbered_call, put_numbers
from tests.toolserver.serving import OSLO, OSLO_BODY, RECORDED, as_request, make_cache, run, serving
from toolserver.cache import ResponseCache, record
from toolserver.cache.record import decode_entry, encode_record
from toolserver.catalog.api_schema import ToolResponse
from toolserver.errors import CacheError, DamagedEntryError


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def store(path: Path, key: bytes, value: bytes) -> None:
    """Put `value` in place of an entry's, without toolserver."""
    with sqlite3.connect(path / "cache.db") as connection:
        connection.execute("UPDATE Cache SET value = ? WHERE key = ?", (value, key))
    connection.close()


def damage(path: Path, call: Any) -> None:
    """Flip one bit in the stored answer to `call`."""
    with ResponseCache(path, read_only=True) as cache:
        value = cache._reader.get(key_of(call))
    assert isinstance(value, bytes)
    store(path, key_of(call), flip(value, 8 * (len(value) - 3)))


def test_every_flipped_bit_and_every_cut_of_an_entry_is_refused() -> None:
    key, value = encode_record(numbered_call(3), ToolResponse(answer(3)), "source", "now")
    assert decode_entry(key, value).body == answer(3)
    for bit in range(8 * len(value)):
        with pytest.raises(DamagedEntryError, match=f"entry {key.hex()} does not match its hash"):
            decode_entry(key, flip(value, bit))
    for length in range(len(value)):
        with pytest.raises(DamagedEntryError):
            decode_entry(key, value[:length])
    with pytest.raises(DamagedEntryError):
        decode_entry(key_of(numbered_call(4)), value)


def test_a_flipped_bit_in_the_file_never_changes_an_answer(tmp_path: Path) -> None:
    put_numbers(tmp_path, range(40), "")
    sound = (tmp_path / "cache.db").read_bytes()
    rng, refused = random.Random(0), 0
    for _ in range(250):
        (tmp_path / "cache.db").write_bytes(flip(sound, rng.randrange(8 * len(sound))))
        for number in range(40):
            try:
                with ResponseCache(tmp_path, read_only=True) as cache:
                    entry = cache.get(key_of(numbered_call(number)))
                    assert entry is None or entry.body == answer(number)
            except CacheError:
                refused += 1
    assert refused > 100


def test_a_damaged_entry_is_refused_and_counted_and_the_others_are_served(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    other = RECORDED[1][0]
    with serving(tmp_path) as client:
        for number in range(1, 4):
            refused = client.post("/v1/call", json=as_request(OSLO))
            assert refused.status_code == 503
            assert refused.json()["detail"] == f"the entry {key_of(OSLO).hex()} does not match its hash; " + (
                "see `toolserver verify`"
            )
            assert client.post("/v1/call", json=as_request(other)).json()["body"] == RECORDED[1][1].decode()
            assert f"toolserver_cache_damaged_total {number}.0" in client.get("/metrics").text
        assert OSLO_BODY.decode() not in client.post("/v1/calls", json=[as_request(OSLO)]).text


def test_no_policy_for_missed_calls_answers_in_place_of_a_damaged_entry(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    with serving(tmp_path, miss="synthetic") as client:
        assert client.post("/v1/call", json=as_request(OSLO)).status_code == 503


def test_a_damaged_entry_is_neither_kept_nor_replaced_in_silence(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    with ResponseCache(tmp_path) as cache, pytest.raises(DamagedEntryError):
        cache.put(OSLO, OSLO_BODY)


def test_a_forged_entry_with_the_right_hash_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, value = encode_record(numbered_call(0), ToolResponse(answer(0)), "", "")
    put_numbers(tmp_path, range(1), "")
    rest = value[19:].replace(b'["Data"', b'{"Data"')
    assert rest != value[19:]
    store(tmp_path, key, value[:3] + record._digest(key, value[:3], rest) + rest)
    capsys.readouterr()
    for command in (["verify"], ["stats"], ["export", "archive", tmp_path / "file"]):
        assert run(*command, "--cache", tmp_path) == 1
        assert "no readable description" in capsys.readouterr().err


def test_a_server_with_a_model_starts_with_a_damaged_entry(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    with serving(tmp_path, miss="llm", llm_url="http://127.0.0.1:9", llm_model="none", read_only=False) as client:
        assert client.post("/v1/call", json=as_request(OSLO)).status_code == 503
        assert "toolserver_cache_damaged_total" in client.get("/metrics").text
