"""Real servers: several workers over one cache answer as one, and a killed one is replaced."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.server_stub import upstream_stub
from tests.toolserver.serving import OSLO, OSLO_BODY, as_request, as_virtual, make_cache
from toolserver.cache import ResponseCache
from toolserver.errors import ToolServerError
from toolserver.testing import ServerProcess

WORKERS = 4


def ask_from_many_connections(url: str, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    """One connection each, so that the workers share them."""

    def ask(request: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{url}/virtual", json=request, timeout=30)

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(ask, requests))


def metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def wait_until_counted(url: str, name: str, expected: float) -> float:
    """Workers leave their counts once a second: the sum, as soon as it is `expected`, or after some seconds."""
    deadline = time.monotonic() + 15
    while (found := metric(url, name)) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_workers_share_cache_metrics_and_misses(tmp_path: Path) -> None:
    """Four workers that record: a call that 48 connections miss at once has one answer afterwards, and one entry."""
    with upstream_stub(lambda request: {"error": "", "response": f"answer {time.perf_counter_ns()}"}) as stub:
        arguments = ["--cache", str(make_cache(tmp_path)), "--workers", str(WORKERS)]
        with ServerProcess([*arguments, "--miss", "live", "--live-url", stub.url]) as server:
            assert len(psutil.Process(server.pid).children()) >= WORKERS
            hits = ask_from_many_connections(server.url, [as_virtual(OSLO)] * 64)
            assert {answer.content for answer in hits} == {OSLO_BODY}
            assert wait_until_counted(server.url, "toolserver_cache_hits_total", 64) == 64

            cities = [as_virtual(OSLO._replace(arguments={"city": f"city {n % 12}"})) for n in range(48)]
            ask_from_many_connections(server.url, cities)
            settled = ask_from_many_connections(server.url, cities)
            answers = Counter(answer.content for answer in settled)
            assert sorted(answers.values()) == [4] * 12
            assert wait_until_counted(server.url, "toolserver_calls_total", 160) == 160
        assert 12 <= len(stub.requests) <= 12 * WORKERS
    with ResponseCache(tmp_path, read_only=True) as cache:
        assert len(cache) == 3 + 12
        assert not list(cache.verify())


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with ServerProcess(["--cache", str(make_cache(tmp_path)), "--workers", "2", "--read-only"]) as server:
        workers = _workers(server.pid)
        os.kill(workers[0], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while (len(_workers(server.pid)) < 2 or workers[0] in _workers(server.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        answers = ask_from_many_connections(server.url, [as_virtual(OSLO)] * 8)
        assert {answer.content for answer in answers} == {OSLO_BODY}


def _workers(parent: int) -> list[int]:
    """The processes that serve, without multiprocessing's resource tracker."""
    living = [child for child in psutil.Process(parent).children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child.pid for child in living if "resource_tracker" not in " ".join(child.cmdline())]


def test_a_world_is_served_with_its_recordings(tmp_path: Path) -> None:
    arguments = ["--world", "0", "--world-level", "lite", "--cache", str(make_cache(tmp_path))]
    with ServerProcess(arguments) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v1/apis").json()["total"] > 100
        assert client.post("/v1/call", json=as_request(OSLO)).json()["body"] == OSLO_BODY.decode()
        api = client.get("/v1/apis", params={"q": "city", "limit": 1}).json()["apis"][0]
        request = {"category": api["category_name"], "tool_name": api["tool_name"], "api_name": api["api_name"]}
        answer = client.post("/virtual", json=request | {"tool_input": "{}"})
        assert answer.headers["x-toolserver-provenance"] == "world"


def test_ending_the_server_ends_its_workers(tmp_path: Path) -> None:
    with ServerProcess(["--cache", str(make_cache(tmp_path)), "--workers", "2"]) as server:
        parent = psutil.Process(server.pid)
        family = [parent, *parent.children(recursive=True)]
    assert not psutil.wait_procs(family, timeout=10)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to serve"),
        (["--cache", "nowhere"], "no cache at nowhere"),
        (["--cache", "nowhere", "--workers", "2"], "no cache at nowhere"),
        (["--world", "-1"], "world"),
        (["--world", "0", "--miss", "llm"], "llm_url"),
        (["--world", "0", "--api-key-file", "nowhere"], "api_key_file"),
    ],
)
def test_a_server_that_cannot_serve_says_why_and_ends(tmp_path: Path, arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "toolserver.cli", "serve", "--port", "0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert ended.returncode not in (0, None)
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    cache = str(make_cache(tmp_path))
    with ServerProcess(["--cache", cache]) as server:
        port = server.url.rsplit(":", 1)[1]
        command = [sys.executable, "-m", "toolserver.cli", "serve", "--cache", cache, "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        assert port in ended.stderr
    with pytest.raises(ToolServerError, match="no cache at"), ServerProcess(["--cache", str(tmp_path / "nowhere")]):
        pass
