"""Limits of keys, rates, sizes and times."""

import asyncio
import json
import socket
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.server_stub import upstream_stub
from tests.toolserver.serving import OSLO, as_request, as_virtual, make_cache, serving
from toolserver.errors import ConfigurationError
from toolserver.http.auth import ApiKeys
from toolserver.http.rate_limit import RateLimiter
from toolserver.http.request_body import Disconnect, read_body
from toolserver.testing import ServerProcess

KEYS = "first-key-of-the-file", "second-key-of-the-file"
POSTS = [("/virtual", as_virtual(OSLO)), ("/v1/call", as_request(OSLO)), ("/v1/calls", [as_request(OSLO)])]


def key_file(folder: Path) -> Path:
    path = folder / "keys"
    path.write_text("# the keys\n\n" + "\n".join(KEYS) + "\n")
    return path


def test_without_a_key_nothing_is_answered_but_health_and_documentation(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path / "c"), api_key_file=key_file(tmp_path)) as client:
        for path, body in POSTS:
            for headers in ({}, {"x-api-key": "wrong"}, {"authorization": f"Basic {KEYS[0]}"}):
                refused = client.post(path, json=body, headers=headers)
                assert (refused.status_code, refused.json()) == (401, {"detail": "missing or unknown API key"})
        for path in ("/v1/apis", "/metrics", "/v1/apis/a/b/c", "/nowhere"):
            assert client.get(path).status_code == 401
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_every_key_opens_in_every_form(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path / "c"), api_key_file=key_file(tmp_path)) as client:
        for key in KEYS:
            for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"toolbench_key": key}):
                for path, body in POSTS:
                    assert client.post(path, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(("content", "words"), [("", "no key"), ("# only\n", "no key"), ("changeme", "16 or more")])
def test_a_key_file_without_secrets_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=words):
        ApiKeys.from_file(path)
    with pytest.raises(ConfigurationError, match="cannot read"):
        ApiKeys.from_file(tmp_path / "nowhere")


def test_the_rate_holds_per_key_and_counts_calls(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"api_key_file": key_file(tmp_path), "rate_limit": 3.0}
    with serving(make_cache(tmp_path / "c"), **settings) as client:
        first, second = ({"x-api-key": key} for key in KEYS)
        batch = [as_request(OSLO)] * 60  # pays for twenty seconds
        assert client.post("/v1/calls", json=batch, headers=first).status_code == 200
        refused = client.post("/virtual", json=as_virtual(OSLO), headers=first)
        assert (refused.status_code, refused.json()) == (429, {"detail": "rate limit exceeded"})
        assert 10 <= int(refused.headers["retry-after"]) <= 20
        assert client.post("/virtual", json=as_virtual(OSLO), headers=second).status_code == 200
        assert client.get("/healthz", headers=first).status_code == 200


def test_the_rate_over_time_is_the_rate(tmp_path: Path) -> None:
    now = [100.0]
    limiter = RateLimiter(10.0, 2, clock=lambda: now[0])
    admitted = 0
    for _ in range(1000):  # ten seconds of asking a hundred times a second
        admitted += limiter.take(0) == 0
        now[0] += 0.01
    assert 100 <= admitted <= 111
    assert limiter.take(1) == 0
    now[0] += limiter.take(0) or 1.0
    assert limiter.take(0) == 0


@pytest.mark.parametrize("now", [0.0, 50.0, 123456.789, 98765432.1])
@pytest.mark.parametrize("rate", [0.001, 0.5, 1, 1.5, 2.5, 3, 5, 7, 10, 33, 100, 300, 1000])
def test_of_calls_that_come_at_once_those_of_one_second_are_admitted(rate: float, now: float) -> None:
    clock = [now]
    limiter = RateLimiter(rate, 1, clock=lambda: clock[0])
    assert sum(limiter.take(0) == 0 for _ in range(3000)) == max(1, int(rate))
    clock[0] += limiter.take(0) - 1e-6
    assert limiter.take(0) > 0
    clock[0] += 2e-6
    assert limiter.take(0) == 0
    assert limiter.charge(0, 2**20) == 0  # no number is too large
    assert limiter.charge(0, 2**20) > 0


def hammer(path: Path, rate: float) -> tuple[float, float, int]:
    """Ask without a pause: begin and end, and the number of admitted calls."""
    limiter, admitted = RateLimiter(rate, 1, path), 0
    _started.wait(60)
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        admitted += limiter.take(0) == 0
    return began, time.monotonic(), admitted


def _share(started: Barrier) -> None:
    global _started
    _started = started


def test_processes_that_ask_at_the_same_time_get_the_rate(tmp_path: Path) -> None:
    rate, processes, spawn = 10_000.0, 4, get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _share, (spawn.Barrier(processes),)) as pool:
        asking = [pool.submit(hammer, tmp_path / "rates", rate) for _ in range(processes)]
        begins, ends, admitted = zip(*[each.result() for each in asking], strict=True)
    assert sum(admitted) <= rate * (max(ends) - min(begins) + 1.0) + 1


def test_a_server_with_several_workers_admits_its_rate(tmp_path: Path) -> None:
    arguments = ["--cache", str(make_cache(tmp_path)), "--workers", "2", "--read-only", "--rate-limit", "20"]
    limits = httpx.Limits(max_keepalive_connections=0)  # so that both workers are asked
    with ServerProcess(arguments) as server, httpx.Client(base_url=server.url, limits=limits, timeout=30) as client:
        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: client.post("/virtual", json=as_virtual(OSLO)), range(160)))
        admitted = sum(answer.status_code == 200 for answer in answers)
        assert 20 <= admitted <= 20 * (time.monotonic() - began + 1)


def test_of_batches_that_come_at_once_one_exceeds_the_rate(tmp_path: Path) -> None:
    """All heads are admitted before the first body comes, and with it the number of calls."""
    arguments = ["--cache", str(make_cache(tmp_path)), "--read-only", "--rate-limit", "20"]
    body = json.dumps([as_request(OSLO)] * 400).encode()
    head = "POST /v1/calls HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
    with ServerProcess(arguments) as server, ExitStack() as stack:
        host, port = server.url.removeprefix("http://").split(":")
        batches = [stack.enter_context(socket.create_connection((host, int(port)), 20)) for _ in range(16)]
        for batch in batches:
            batch.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            assert batch.recv(4096).startswith(b"HTTP/1.1 100")
        statuses = []
        for batch in batches:
            batch.sendall(body)
            statuses.append(batch.recv(65536)[9:12])
        assert statuses == [b"200"] + [b"429"] * 15


def test_a_refused_call_is_admitted_after_the_time_that_was_stated(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path), rate_limit=0.7) as client:
        assert client.post("/virtual", json=as_virtual(OSLO)).status_code == 200
        refused = client.post("/virtual", json=as_virtual(OSLO))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")  # 1.43 s, not less


def test_limiters_of_one_file_share_their_count(tmp_path: Path) -> None:
    limiters = [RateLimiter(5.0, 1, tmp_path / "rates", clock=lambda: 50.0) for _ in range(3)]
    admitted = sum(limiter.take(0) == 0 for _ in range(10) for limiter in limiters)
    assert admitted == 5


def test_bodies_batches_and_depth_are_limited(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_body_bytes": 2000, "max_batch": 3, "max_depth": 4}
    with serving(make_cache(tmp_path), **settings) as client:
        for path, _ in POSTS:
            for content in (b" " * 2001, iter([b" " * 1000] * 3)):
                large = client.post(path, content=content, headers={"content-type": "application/json"})
                assert (large.status_code, large.json()) == (413, {"detail": "request body larger than 2000 bytes"})
        many = client.post("/v1/calls", json=[{}] * 4)
        assert many.status_code == 413
        assert "at most 3" in many.json()["detail"]
        deep = as_request(OSLO._replace(arguments={"a": {"b": {"c": {"d": {}}}}}))
        assert client.post("/v1/call", json=deep).json()["outcome"] == "invalid_arguments"


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    arguments = ["--cache", str(make_cache(tmp_path))]
    with ServerProcess(arguments, settings={"request_timeout": 0.2}) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"POST /virtual HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_client_that_goes_away_is_no_refusal() -> None:
    async def read() -> bytes:
        messages = iter([{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(messages)

        return await read_body(receive, b"", 100)

    with pytest.raises(Disconnect):
        asyncio.run(read())


def test_a_slow_tool_times_out_and_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    done = Event()

    def stall(request: dict[str, Any]) -> dict[str, Any]:
        done.wait(20)
        return {"error": "", "response": "late"}

    with upstream_stub(stall) as stub:
        settings: dict[str, Any] = {"miss": "live", "live_url": stub.url, "request_timeout": 0.2, "read_only": False}
        with serving(make_cache(tmp_path), **settings) as client:
            slow = as_request(OSLO._replace(arguments={"city": "Rome"}, state="open:seed=1"))
            answers = client.post("/v1/calls", json=[slow, as_request(OSLO)]).json()
            assert [answer["outcome"] for answer in answers] == ["timeout", "ok"]
            assert answers[0]["state"] == "open:seed=1"
            done.set()


def test_secrets_are_not_echoed(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path)) as client:
        wrong = client.post("/virtual", content=json.dumps({"category": 1, "toolbench_key": ["my-secret"]}))
        assert "my-secret" not in wrong.text
