"""Cache in Redis: URL, password, a server that evicts, is unreachable or is slow, several machines."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.server_stub import upstream_stub
from tests.toolserver.apis import APIS
from tests.toolserver.cache.redis_process import redis_server
from tests.toolserver.numbered_calls import answer, key_of, numbered_call, put_numbers, write_responses_folder
from tests.toolserver.serving import OSLO, OSLO_BODY, as_request, make_cache, run, serving
from toolserver.cache import PutResult, ResponseCache
from toolserver.cache.catalog_store import load_catalog, save_catalog
from toolserver.cache.redis_url import PASSWORD_VARIABLE, parse_redis_url
from toolserver.catalog.catalog import Catalog
from toolserver.errors import CacheError, ConfigurationError
from toolserver.settings import Settings

PASSWORD = "s3cret!@/#?"
QUOTED = "s3cret%21%40%2F%23%3F"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """redis-py's own client of the server under test."""
    address = parse_redis_url(redis_url)
    with redis.Redis(address.host, address.port, address.database) as opened:
        yield opened


def bucket_of(redis_url: str, key: bytes) -> str:
    return f"{parse_redis_url(redis_url).prefix}:records:{key[0]:02x}"


def test_what_one_machine_records_another_reads(redis_url: str) -> None:
    with ResponseCache(redis_url) as here, ResponseCache(redis_url) as there:
        assert here.put(numbered_call(1), answer(1, "here")) is PutResult.ADDED
        assert there.put(numbered_call(1), answer(1, "there")) is PutResult.KEPT
        entry = there.get(key_of(numbered_call(1)))
        assert entry is not None
        assert entry.body == answer(1, "here")


def test_a_transaction_never_overwrites_what_came_first(redis_url: str) -> None:
    with ResponseCache(redis_url) as cache, ResponseCache(redis_url) as other:
        with cache.transaction():
            cache.put(numbered_call(1), answer(1, "late"))
            cache.put(numbered_call(2), answer(2))
            assert cache.put(numbered_call(2), answer(2)) is PutResult.UNCHANGED  # it sees its own writes
            assert other.get(key_of(numbered_call(2))) is None  # and nobody else does
            other.put(numbered_call(1), answer(1, "first"))
        entry = cache.get(key_of(numbered_call(1)))
        assert entry is not None
        assert entry.body == answer(1, "first")
        assert len(cache) == 2


def test_prefixes_and_databases_are_caches_of_their_own(redis_address: str, redis_url: str) -> None:
    put_numbers(redis_url, range(5), "")
    with ResponseCache(f"{redis_url}-other") as other:
        assert len(other) == 0
    with pytest.raises(CacheError, match="no cache at"):
        ResponseCache(redis_url.replace("/0?", "/1?"), read_only=True)


def test_reading_only_writes_nothing(redis_url: str, client: Any) -> None:
    put_numbers(redis_url, range(5), "")
    save_catalog(Catalog(APIS), redis_url)
    before = client.info("persistence")["rdb_changes_since_last_save"]
    with ResponseCache(redis_url, read_only=True) as cache:
        assert [entry.body for _, entry in cache.entries()]
        assert list(cache.verify()) == []
        assert cache.stats().bytes > 0
    assert len(load_catalog(redis_url)) == len(APIS)
    assert client.info("persistence")["rdb_changes_since_last_save"] == before
    with pytest.raises(CacheError, match=r"no cache at .*; fill one with `toolserver import"):
        ResponseCache(f"{redis_url}-none", read_only=True)
    assert client.info("persistence")["rdb_changes_since_last_save"] == before


READER = "~test-*:* +hget +hscan +hgetall +hkeys +hlen +pttl +memory|usage +get +info +select"


def test_a_user_who_may_only_read_can_read_everything(redis_url: str, client: Any) -> None:
    put_numbers(redis_url, range(5), "")
    save_catalog(Catalog(APIS), redis_url)
    client.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", *READER.split())
    url = redis_url.replace("redis://", f"redis://reader:{QUOTED}@").replace("/0?", "/1?")
    with pytest.raises(CacheError, match="no cache at"):  # in another database, which SELECT must allow
        ResponseCache(url, read_only=True)
    url = url.replace("/1?", "/0?")
    with ResponseCache(url, read_only=True) as cache:
        assert cache.get(key_of(numbered_call(1))) is not None
        assert list(cache.verify()) == []
        assert (cache.stats().entries, len(list(cache.entries()))) == (5, 5)
    assert len(load_catalog(url)) == len(APIS)
    with pytest.raises(CacheError, match="cannot write"):
        ResponseCache(url)


def test_another_version_is_refused(redis_url: str, client: Any) -> None:
    client.set(f"{parse_redis_url(redis_url).prefix}:format", "99")
    for read_only in (True, False):
        with pytest.raises(CacheError, match="format 99"):
            ResponseCache(redis_url, read_only=read_only)
    with pytest.raises(CacheError, match="format 99"):
        load_catalog(redis_url)


def test_keys_of_another_kind_are_an_error_and_not_an_answer(redis_url: str, client: Any) -> None:
    key = key_of(numbered_call(1))
    client.set(bucket_of(redis_url, key), "theirs")
    with ResponseCache(redis_url) as cache:
        with pytest.raises(CacheError, match="cannot read"):
            cache.get(key)
        with pytest.raises(CacheError, match="cannot write"):
            cache.put(numbered_call(1), answer(1))


def test_verify_finds_damage(redis_url: str, client: Any) -> None:
    put_numbers(redis_url, range(3), "")
    changed, moved = (key_of(numbered_call(number)) for number in (1, 2))
    value = client.hget(bucket_of(redis_url, changed), changed)
    client.hset(bucket_of(redis_url, changed), changed, value[:-1] + b" ")
    client.hset(bucket_of(redis_url, moved), b"\x00not a key" if moved[0] else b"\x01not a key", b"x")
    client.expire(bucket_of(redis_url, moved), 1000)
    with ResponseCache(redis_url, read_only=True) as cache:
        found = [(problem.key, problem.reason) for problem in cache.verify()]
    assert (changed.hex(), "the value does not match its hash") in found
    assert any("fields of another kind" in reason for _, reason in found)
    assert any("expires in" in reason for _, reason in found)
    assert len(found) == 3


@pytest.mark.parametrize(("policy", "refused"), [("allkeys-lru", True), ("volatile-lru", False), ("noeviction", False)])
def test_a_server_that_may_evict_is_refused(tmp_path: Path, policy: str, refused: bool) -> None:
    with redis_server(tmp_path, "--maxmemory-policy", policy) as address:
        url = f"redis://{address}"
        if not refused:
            assert put_numbers(url, range(3), "") == 3
            return
        for read_only in (True, False):
            with pytest.raises(CacheError, match=f"maxmemory-policy is {policy}.*noeviction"):
                ResponseCache(url, read_only=read_only)
        with pytest.raises(CacheError, match="maxmemory-policy"):
            save_catalog(Catalog(APIS), url)


def put_until_full(cache: ResponseCache) -> None:
    for number in range(100_000):
        cache.put(numbered_call(number), answer(number))


def test_a_full_server_says_so_and_loses_nothing(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory", "4mb") as address, ResponseCache(f"redis://{address}") as cache:
        with pytest.raises(CacheError, match=r"cannot write to .*maxmemory"):
            put_until_full(cache)
        entries = len(cache)
        with pytest.raises(CacheError, match="cannot write to"), cache.transaction():
            cache.put(numbered_call(200_000), answer(1))
        assert len(cache) == entries > 0
        assert [cache.get(key_of(numbered_call(number))) is None for number in (0, entries - 1, entries)] == [
            False,
            False,
            True,
        ]
        assert list(cache.verify()) == []


def test_a_password_is_used_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server(tmp_path, "--requirepass", PASSWORD) as address:
        with ResponseCache(f"redis://:{QUOTED}@{address}") as cache:
            assert cache.location == f"redis://{address}/0?prefix=toolserver"
        monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
        assert put_numbers(f"redis://{address}", range(1), "") == 1
        with pytest.raises(CacheError, match=rf"redis://{address}/0.*invalid"):
            ResponseCache(f"redis://:wrong-word@{address}")


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{QUOTED}@127.0.0.1:1/0",
        f"rediss://user:{QUOTED}@127.0.0.1:1/0",
        "redis://user:s3cret#@127.0.0.1:1/0",
        "redis://user:s3cret@127.0.0.1:99999/0",
        "redis://user:s3cret@127.0.0.1/zero",
        "redis://user:s3cret@127.0.0.1/0?timeout=3",
        "redis://user:s3cret@/0",
    ],
)
def test_no_error_shows_the_password(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["verify"], ["stats"], ["export", "archive", "file"]):
        assert run(*command, "--cache", url) == 2
    assert "s3cret" not in "".join(capsys.readouterr())
    with pytest.raises(ValueError) as refused:
        Settings(cache=url, miss="live")
    assert "s3cret" not in f"{refused.value}{Settings(cache=url)!r}{Settings(cache=url)}"


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(CacheError, match=r"cannot read redis://127\.0\.0\.1:1/3\?prefix=mine: .*refused"):
        ResponseCache("redis://user:s3cret@127.0.0.1:1/3?prefix=mine")


WITHOUT_REDIS = """
import sys
sys.modules["redis"] = None
from toolserver.cli import main
main(["verify", "--cache", "redis://:s3cret@localhost/0"])
"""


def test_without_the_package_the_error_says_what_to_install() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_REDIS], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "redis://localhost:6379/0?prefix=toolserver" in ended.stderr
    assert "pip install 'steptool-env[redis]'" in ended.stderr
    assert "s3cret" not in ended.stderr


def test_commands_take_a_url_like_a_directory(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_responses_folder(tmp_path / "source", files=3, calls=40)
    save_catalog(Catalog(APIS), redis_url)
    assert run("import", "stabletoolbench", tmp_path / "source", "--cache", redis_url) == 0
    assert run("verify", "--cache", redis_url) == 0
    assert f"120 entries, {len(APIS)} APIs: sound" in capsys.readouterr().out
    assert run("stats", "--cache", redis_url, "--json") == 0
    assert '"entries": 120' in capsys.readouterr().out
    for place, file in ((redis_url, "one"), (tmp_path / "disk", "two"), (f"{redis_url}-copy", "three")):
        if file != "one":
            assert run("import", "archive", tmp_path / "one", "--cache", place) == 0
        assert run("export", "archive", tmp_path / file, "--cache", place) == 0
        assert (tmp_path / file).read_bytes() == (tmp_path / "one").read_bytes()


def test_catalogs_are_merged_and_written_once(redis_url: str, client: Any) -> None:
    save_catalog(Catalog(APIS[:1]), redis_url)
    save_catalog(Catalog(APIS), redis_url)
    assert list(load_catalog(redis_url)) == list(Catalog(APIS))
    changes = client.info("persistence")["rdb_changes_since_last_save"]
    save_catalog(Catalog(APIS), redis_url)
    assert client.info("persistence")["rdb_changes_since_last_save"] == changes


def test_a_replica_serves_what_another_asked_for(redis_url: str) -> None:
    make_cache(redis_url)
    asked = as_request(OSLO._replace(arguments={"city": "Turku"}))
    with upstream_stub(lambda request: {"error": "", "response": "from upstream"}) as stub:
        with serving(redis_url, miss="live", live_url=stub.url, read_only=False) as client:
            first = client.post("/v1/call", json=asked).json()
        with serving(redis_url) as replica:
            second = replica.post("/v1/call", json=asked).json()
            assert replica.get("/v1/apis").json()
    assert len(stub.requests) == 1
    assert first == second
    assert second["provenance"] == "live"


def test_served_records_count_as_hits_from_redis_and_from_memory(redis_url: str) -> None:
    make_cache(redis_url)
    with serving(redis_url) as client:
        for _ in range(2):
            assert client.post("/v1/call", json=as_request(OSLO)).json()["body"] == OSLO_BODY.decode()
        missing = client.post("/v1/call", json=as_request(OSLO._replace(arguments={"city": "Turku"}))).json()
        assert missing["outcome"] == "not_recorded"
        metrics = client.get("/metrics").text
    assert "toolserver_cache_hits_total 2.0" in metrics
    assert "toolserver_cache_misses_total 1.0" in metrics


def test_a_server_that_goes_away_costs_answers_and_not_the_service(tmp_path: Path) -> None:
    with redis_server(tmp_path) as address:
        url = f"redis://{address}"
        make_cache(url)
        with serving(url) as client:
            known = client.post("/v1/call", json=as_request(OSLO))
            redis.Redis.from_url(url).shutdown(nosave=True)
            assert client.get("/readyz").status_code == 503
            assert client.get("/healthz").status_code == 200
            assert client.post("/v1/call", json=as_request(OSLO)).json() == known.json()  # it is in memory
            others = [as_request(OSLO._replace(arguments={"city": city})) for city in ("Turku", "Vaasa", "Kotka")]
            for refused in (client.post("/v1/call", json=others[0]), client.post("/v1/calls", json=others)):
                assert refused.status_code == 503
                assert address in refused.json()["detail"]


def test_a_malformed_url_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="unknown field 'timeout'"):
        ResponseCache("redis://localhost/0?timeout=3")
