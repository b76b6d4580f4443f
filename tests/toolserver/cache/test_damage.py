"""Damage to a cache's files is found: a changed entry is refused and counted, and lost ones are missed."""

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import diskcache
import pytest

from tests.toolserver.numbered_calls import answer, key_of, numbered_call, put_numbers
from tests.toolserver.serving import OSLO, OSLO_BODY, RECORDED, as_request, make_cache, run, serving
from toolserver.cache import ResponseCache, record
from toolserver.cache.record import decode_entry, encode_record
from toolserver.catalog.api_schema import ToolResponse
from toolserver.errors import CacheError, DamagedEntryError
from toolserver.service.factory import build_service
from toolserver.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


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


@pytest.mark.parametrize("settings", [{}, {"miss": "synthetic"}])
def test_a_damaged_entry_is_refused_and_counted_and_the_others_are_served(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    other = RECORDED[1][0]
    with serving(tmp_path, **settings) as client:
        for number in range(1, 4):
            refused = client.post("/v1/call", json=as_request(OSLO))
            assert refused.status_code == 503
            assert refused.json()["detail"] == f"the entry {key_of(OSLO).hex()} does not match its hash; " + (
                "see `toolserver verify`"
            )
            assert client.post("/v1/call", json=as_request(other)).json()["body"] == RECORDED[1][1].decode()
            assert f"toolserver_cache_damaged_total {number}.0" in client.get("/metrics").text


@pytest.mark.parametrize("miss", ["strict", "synthetic", "live"])
def test_a_damaged_entry_is_refused_alone_in_its_batch(tmp_path: Path, miss: str) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    unread = {"live_url": "http://127.0.0.1:9/rapidapi"} if miss == "live" else {}
    with serving(tmp_path, miss=miss, **unread) as client:
        other, body, _ = RECORDED[1]
        batch = [as_request(call) for call in (other, OSLO, other, OSLO._replace(state="open:seed=1"))]
        answer = client.post("/v1/calls", json=batch)
        assert answer.status_code == 200
        first, damaged, third, in_an_episode = answer.json()
        assert [first["body"], third["body"]] == [body.decode()] * 2
        for refused, state in ((damaged, ""), (in_an_episode, "open:seed=1")):
            assert (refused["outcome"], refused["provenance"], refused["state"]) == ("failed", "service", state)
            assert f"the entry {key_of(OSLO).hex()} does not match its hash" in refused["body"]
        metrics = client.get("/metrics").text
        assert "toolserver_cache_damaged_total 2.0" in metrics
        assert 'outcome="failed",provenance="service",route="/v1/calls"} 2.0' in metrics


def test_a_batch_in_process_is_answered_but_for_a_damaged_entry(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    service = build_service(Settings(cache=tmp_path, read_only=True))
    answers = service.call_many([RECORDED[1][0], OSLO, RECORDED[1][0]])
    assert [answer.outcome for answer in answers] == ["rate_limited", "failed", "rate_limited"]
    with pytest.raises(DamagedEntryError):
        service.call(OSLO)
    service.close()


def test_a_damaged_entry_is_neither_kept_nor_replaced_in_silence(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    with ResponseCache(tmp_path) as cache, pytest.raises(DamagedEntryError):
        cache.put(OSLO, OSLO_BODY)


@pytest.mark.parametrize(
    ("written", "forged"),
    [
        (b'["Data"', b'{"Data"'),
        (b'["Data"', b'[["Da"]'),
        (b'["Data"', b"[123456"),
        (b'{"number":0,"unit":"m"}', b'["number",0,"unit","m"]'),
        (b'"",""]', b'"",17]'),
    ],
)
def test_a_forged_entry_with_the_right_hash_is_an_error(
    tmp_path: Path, written: bytes, forged: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value = encode_record(numbered_call(0), ToolResponse(answer(0)), "", "")
    put_numbers(tmp_path, range(1), "")
    rest = value[19:].replace(written, forged, 1)
    assert rest != value[19:]
    assert len(rest) == len(value[19:])
    store(tmp_path, key, value[:3] + record._digest(key, value[:3], rest) + rest)
    capsys.readouterr()
    for command, status in ((["verify"], 1), (["stats"], 2), (["export", "archive", tmp_path / "file"], 1)):
        assert run(*command, "--cache", tmp_path) == status, command
        assert "no readable description" in capsys.readouterr().err


@pytest.mark.parametrize("rest", [b"", b"\0\0\0"])
def test_a_forged_entry_that_ends_in_its_header_is_an_error(
    tmp_path: Path, rest: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value = encode_record(numbered_call(0), ToolResponse(answer(0)), "", "")
    put_numbers(tmp_path, range(1), "")
    store(tmp_path, key, value[:3] + record._digest(key, value[:3], rest) + rest)
    capsys.readouterr()
    for command in (["verify"], ["export", "archive", tmp_path / "file"]):
        assert run(*command, "--cache", tmp_path) == 1, command
        assert "does not match its hash" in capsys.readouterr().err


def test_a_server_with_a_model_starts_with_a_damaged_entry(tmp_path: Path) -> None:
    make_cache(tmp_path)
    damage(tmp_path, OSLO)
    with serving(tmp_path, miss="llm", llm_url="http://127.0.0.1:9", llm_model="none", read_only=False) as client:
        assert client.post("/v1/call", json=as_request(OSLO)).status_code == 503
        assert "toolserver_cache_damaged_total" in client.get("/metrics").text


RECORD = """
import os, sys
from tests.toolserver.numbered_calls import answer, numbered_call
from toolserver.cache import ResponseCache
cache = ResponseCache(sys.argv[1])
for number in range(3000):
    cache.put(numbered_call(number), answer(number))
os._exit(0)  # like a killed process: the log is left
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 3,000 recordings, of which the last are in the log of a killed writer."""
    path = tmp_path_factory.mktemp("killed") / "cache"
    subprocess.run([sys.executable, "-c", RECORD, path], cwd=ROOT, check=True)
    assert (path / "cache.db-wal").stat().st_size > 100_000
    return path


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    """A copy of `killed`."""
    return shutil.copytree(killed, tmp_path / "left")


def verify(path: Path) -> list[str]:
    with ResponseCache(path, read_only=True) as cache:
        return [problem.reason for problem in cache.verify()]


def number_of_entries(path: Path) -> int:
    with ResponseCache(path, read_only=True) as cache:
        return len(cache)


def test_the_log_of_a_killed_writer_is_whole(left: Path) -> None:
    assert verify(left) == []
    assert number_of_entries(left) == 3000


def delete_log(path: Path) -> None:
    path.unlink()


def damage_log(path: Path) -> None:
    log = path.read_bytes()
    path.write_bytes(flip(log, 8 * (len(log) // 2)))


def cut_last_transaction(path: Path) -> None:
    """Cut the log before the frames of its last transaction (https://www.sqlite.org/fileformat2.html, section 4.1)."""
    log = path.read_bytes()
    page = int.from_bytes(log[8:12])
    frames = [log[start : start + 24 + page] for start in range(32, len(log), 24 + page)]
    current = list(takewhile(lambda frame: frame[8:16] == log[16:24], frames))  # the rest is of an earlier log
    commits = [number for number, frame in enumerate(current, 1) if int.from_bytes(frame[4:8])]
    path.write_bytes(log[: 32 + commits[-2] * (24 + page)])


@pytest.mark.parametrize("hurt", [delete_log, damage_log, cut_last_transaction])
def test_recordings_that_are_lost_with_the_log_are_missed(
    left: Path, tmp_path: Path, hurt: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    hurt(left / "cache.db-wal")
    (left / "cache.db-shm").unlink()
    present = number_of_entries(left)
    assert 0 < present < 3000
    (lost,) = verify(left)
    assert lost.startswith(f"database: {3000 - present} of 3000 entries are missing")
    with ResponseCache(left) as cache:  # a loss is not forgotten when more is recorded
        cache.put(numbered_call(5000), answer(0))
    (lost,) = verify(left)
    assert lost.startswith(f"database: {3000 - present} of 3001 entries are missing")
    assert run("verify", "--cache", left) == 1
    output, errors = capsys.readouterr()
    assert "entries are missing" in errors
    assert "1 problems" in output
    # The way out that the command names.
    assert run("export", "archive", tmp_path / "archive", "--cache", left) == 0
    assert run("import", "archive", tmp_path / "archive", "--cache", tmp_path / "new") == 0
    assert verify(tmp_path / "new") == []


def test_a_database_that_was_replaced_by_another_is_missed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        put_numbers(tmp_path / name, range(20), name)
    shutil.copy(tmp_path / "other" / "cache.db", tmp_path / "one" / "cache.db")
    (changed,) = verify(tmp_path / "one")
    assert "the database was replaced by another" in changed


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM Cache WHERE key = x'{key}'", "19 entries, which are not the 20 that toolserver wrote"),
        ("DELETE FROM Cache WHERE key = 'tally'", "the number of entries is missing"),
        ("UPDATE Cache SET value = x'00' WHERE key = 'tally'", "the number of entries is missing or cannot be read"),
    ],
)
def test_rows_that_another_program_deletes_are_missed(tmp_path: Path, statement: str, reason: str) -> None:
    put_numbers(tmp_path, range(20), "")
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute(statement.format(key=key_of(numbered_call(7)).hex()))
    connection.close()
    (problem,) = verify(tmp_path)
    assert reason in problem


def test_every_way_to_write_is_counted(tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        for number in range(10):
            cache.put(numbered_call(number), answer(number))
            cache.put(numbered_call(number), answer(number))
            cache.put(numbered_call(number), answer(number, "other"))
        cache.put(numbered_call(3), answer(3, "other"), on_conflict="replace")
        with cache.transaction():
            for number in range(5, 15):
                cache.put(numbered_call(number), answer(number, "third"), on_conflict="replace")
            with cache.transaction():
                cache.put(numbered_call(20), answer(20))
            cache.put(numbered_call(20), answer(21), on_conflict="replace")
        with suppress(KeyError), cache.transaction():
            cache.put(numbered_call(30), answer(30))
            raise KeyError
        with cache.transaction():
            pass
        assert len(cache) == 16
    assert verify(tmp_path) == []


def test_an_outdated_tally_file_is_reported_and_renewed_on_writing(tmp_path: Path) -> None:
    """A power failure may take the last pages of the file, and not those of the database."""
    put_numbers(tmp_path, range(20), "")
    outdated = (tmp_path / "cache.tally").read_bytes()
    put_numbers(tmp_path, range(25), "")
    (tmp_path / "cache.tally").write_bytes(outdated)
    (problem,) = verify(tmp_path)
    assert "5 more entries than in cache.tally, as after a power failure" in problem
    put_numbers(tmp_path, range(30), "")
    assert verify(tmp_path) == []


@pytest.mark.parametrize("content", [None, b"", b"nothing\n", bytes(200)])
def test_a_missing_or_unreadable_tally_is_said_and_renewed_on_writing(tmp_path: Path, content: bytes | None) -> None:
    put_numbers(tmp_path, range(20), "")
    tally = tmp_path / "cache.tally"
    tally.unlink() if content is None else tally.write_bytes(content)
    (missing,) = verify(tmp_path)
    assert "the next opening for writing makes a new one" in missing
    put_numbers(tmp_path, range(25), "")
    assert verify(tmp_path) == []


def test_a_tally_that_is_a_link_is_never_written(tmp_path: Path) -> None:
    cache, victim = tmp_path / "cache", tmp_path / "victim"
    put_numbers(cache, range(3), "")
    victim.write_text("precious")
    for make in (Path.symlink_to, Path.hardlink_to):
        (cache / "cache.tally").unlink()
        make(cache / "cache.tally", victim)
        with pytest.raises(CacheError, match=r"cache\.tally"):
            put_numbers(cache, range(4), "")
        assert victim.read_text() == "precious"


def as_an_earlier_version_wrote_it(path: Path) -> None:
    """Take away what earlier versions did not write."""
    with sqlite3.connect(path / "cache.db") as connection:
        connection.execute("DELETE FROM Cache WHERE key = 'tally'")
        connection.execute("DROP INDEX Cache_filename")
    connection.close()
    (path / "cache.tally").unlink()


def test_a_cache_of_an_earlier_version_is_counted_at_its_first_opening_for_writing(tmp_path: Path) -> None:
    put_numbers(tmp_path, range(20), "")
    as_an_earlier_version_wrote_it(tmp_path)
    assert verify(tmp_path) == []
    assert number_of_entries(tmp_path) == 20
    assert not (tmp_path / "cache.tally").exists()
    put_numbers(tmp_path, range(25), "")
    assert verify(tmp_path) == []
    store(tmp_path, key_of(numbered_call(3)), encode_record(numbered_call(3), ToolResponse(answer(4)), "", "")[1])
    (changed,) = verify(tmp_path)
    assert "an earlier version or another program has changed them" in changed


def test_recordings_that_an_earlier_version_adds_are_counted_at_the_next_opening_for_writing(tmp_path: Path) -> None:
    put_numbers(tmp_path, range(20), "")
    key, value = encode_record(numbered_call(50), ToolResponse(answer(50)), "", "")
    with diskcache.Cache(str(tmp_path)) as earlier:
        earlier.add(key, value)
    assert len(verify(tmp_path)) == 1
    put_numbers(tmp_path, range(0), "")
    assert verify(tmp_path) == []
    assert number_of_entries(tmp_path) == 21
