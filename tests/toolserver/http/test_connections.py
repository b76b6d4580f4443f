"""Connections of a real server: bounds on heads, pipelines, time and number, for callers without a key, too."""

import json
import random
import re
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest

from tests.server_stub import upstream_stub
from tests.toolserver.serving import OSLO, OSLO_BODY, as_virtual, make_cache
from toolserver.testing import ServerProcess

MIB = 2**20
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = GET[:-2] + b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_cache(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def guarded(cache: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that needs a key, which no test here sends."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("a-key-that-nobody-has\n")
    with ServerProcess(["--cache", cache, "--read-only", "--api-key-file", str(keys)]) as server:
        yield server


def drip(opened: socket.socket, data: bytes) -> float:
    """Send the same bytes again and again until the server closes the connection; the seconds until then."""
    began = time.monotonic()
    with suppress(ConnectionError):
        while time.monotonic() - began < 10 and not select.select([opened], [], [], 0.05)[0]:
            opened.sendall(data)
    return time.monotonic() - began


@contextmanager
def connection(server: ServerProcess, timeout: float = 20.0) -> Iterator[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout) as opened:
        yield opened


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def send(opened: socket.socket, data: bytes) -> None:
    """Send as much as the server takes before it closes the connection."""
    with suppress(ConnectionError):
        opened.sendall(data)


def received(opened: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    parts = []
    with suppress(ConnectionError):
        while part := opened.recv(65536):
            parts.append(part)
    return b"".join(parts)


def exchange(opened: socket.socket, request: bytes) -> bytes:
    """Send a request; its whole answer."""
    opened.sendall(request)
    answer = b""
    while not (head := re.match(rb".*?content-length: (\d+).*?\r\n\r\n", answer, re.DOTALL)) or (
        len(answer) < head.end() + int(head[1])
    ):
        part = opened.recv(65536)
        assert part, answer
        answer += part
    return answer


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def memory(server: ServerProcess) -> float:
    """Resident memory in MiB."""
    return float(psutil.Process(server.pid).memory_info().rss / MIB)


@pytest.mark.parametrize("field", ["Content-Length: %d", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_body_after_a_head_with_upgrade_is_not_taken_for_a_request(
    guarded: ServerProcess, protocol: str, field: str
) -> None:
    upgrade = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n".encode()
    framing = field.replace("%d", str(len(GET))).encode()
    with connection(guarded) as opened:
        assert statuses(exchange(opened, GET[:-2] + upgrade + b"\r\n")) == [200]  # without a body it may be ignored
        send(opened, b"POST /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + framing + b"\r\n\r\n")
        send(opened, GET)
        answer = received(opened)
        assert statuses(answer) == [400]
        assert b"leave out the header Upgrade" in answer


ENDLESS = {
    "address": b"GET /" + b"a" * (24 * MIB),
    "header": b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (24 * MIB),
    "name": b"GET / HTTP/1.1\r\n" + b"a" * (24 * MIB),
    "headers": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (4 * MIB),
    "whole": b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    "trailer": b"POST /virtual HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: " + b"a" * (24 * MIB),
    "trailers": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"a: b\r\n" * (4 * MIB),
    "second": GET + b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * (24 * MIB),
}


@pytest.mark.parametrize("head", ENDLESS.values(), ids=ENDLESS)
def test_a_head_above_the_limit_is_refused_and_not_held(guarded: ServerProcess, head: bytes) -> None:
    before = memory(guarded)
    with connection(guarded) as opened:
        send(opened, head)
        answer = received(opened)
    assert statuses(answer)[-1:] == [431]
    assert memory(guarded) - before < 8


def test_a_head_of_the_usual_size_is_answered_however_it_is_cut(guarded: ServerProcess) -> None:
    head = GET[:-2] + b"X-Long: " + b"a" * 14_000 + b"\r\n\r\n"
    with connection(guarded) as opened:
        for start in range(0, len(head), 1000):
            opened.sendall(head[start : start + 1000])
        assert opened.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_pipeline_is_read_only_as_fast_as_it_is_answered(guarded: ServerProcess) -> None:
    """Without a reader of the answers, the server stops to read. Later, each request that was sent is answered."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    before, sent = memory(guarded), 0
    with connection(guarded) as opened:
        opened.setblocking(False)
        piece = memoryview(request * 4096)
        while sent < 24 * MIB and select.select([], [opened], [], 1.0)[1]:
            sent += opened.send(piece[sent % len(request) :])
        assert memory(guarded) - before < 16
    assert sent < 24 * MIB


def test_pipelined_requests_are_answered_in_order_however_they_are_cut(cache: str) -> None:
    """The answers to requests that are sent at once, in random pieces, are those to one request after the other."""
    numbers = random.Random(0)
    large = json.dumps([{"category": "Weather", "tool": "sky_watch", "api": "x" * 900}] * 100).encode()
    small = json.dumps(as_virtual(OSLO)).encode()
    requests = [GET, post("/virtual", small), post("/v1/calls", large), GET[:-2] + b"a: b\r\n\r\n"]
    with ServerProcess(["--cache", cache]) as server:
        with connection(server) as opened:
            expected = b"".join([exchange(opened, request) for request in requests] * 20)
        for longest in (1000, 10_000, 300_000, 2 * MIB):
            with connection(server) as opened, ThreadPoolExecutor(1) as reader:
                answers = reader.submit(received, opened)
                data = b"".join(requests * 20) + LAST
                while data:
                    size = numbers.randint(1, longest)
                    opened.sendall(data[:size])
                    data = data[size:]
                found = answers.result()
            assert found.startswith(expected)
            assert statuses(found[len(expected) :]) == [200]


def test_connections_that_send_no_whole_head_are_closed_in_time(cache: str) -> None:
    settings = {"head_timeout": 0.5}
    with ServerProcess(["--cache", cache], settings=settings) as server, ExitStack() as stack:
        open_connections = [stack.enter_context(connection(server)) for _ in range(40)]
        for opened in open_connections[:20]:
            opened.sendall(GET[:-2])
        for opened in open_connections[10:20]:
            opened.sendall(b"a: b\r\n")
        began = time.monotonic()
        with connection(server) as dripping:
            dripping.sendall(GET[:-2])
            drip(dripping, b"a: b\r\n")
        with connection(server) as second:
            second.sendall(GET + GET[:-2])
            assert received(second).startswith(b"HTTP/1.1 200")
        for opened in open_connections:
            assert received(opened) == b""
        assert time.monotonic() - began < 8
        assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_the_rest_of_a_body_that_does_not_come_is_not_waited_for(cache: str) -> None:
    """A route that reads no body answers at once; bytes that trickle in afterwards do not hold the connection."""
    with ServerProcess(["--cache", cache], settings={"head_timeout": 0.4}) as server, connection(server) as opened:
        opened.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert statuses(exchange(opened, b"")) == [404]
        assert drip(opened, b"a") < 5


def test_a_slow_answer_is_waited_for(tmp_path: Path) -> None:
    """The time for a head does not hold for an answer that is being prepared."""
    release = Event()

    def answer(_request: dict[str, Any]) -> dict[str, Any]:
        release.wait(20)
        return {"error": "", "response": "late"}

    with upstream_stub(answer) as stub:
        arguments = ["--cache", str(make_cache(tmp_path)), "--miss", "live", "--live-url", stub.url]
        with ServerProcess(arguments, settings={"head_timeout": 0.2}) as server, connection(server) as opened:
            missing = as_virtual(OSLO._replace(arguments={"city": "Rome"}))
            opened.sendall(post("/virtual", json.dumps(missing).encode()))
            with connection(server) as idle:  # opened later, and closed twice its time later
                assert received(idle) == b""
            with connection(server) as idle:
                assert received(idle) == b""
            release.set()
            assert b"late" in exchange(opened, b"")
            assert statuses(exchange(opened, GET)) == [200]


def test_an_answer_that_is_not_read_is_given_up(cache: str) -> None:
    settings = {"head_timeout": 0.2, "request_timeout": 0.5}
    with ServerProcess(["--cache", cache], settings=settings) as server, connection(server) as opened:
        opened.setblocking(False)
        piece = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
        with suppress(ConnectionError):
            while select.select([], [opened], [], 0.1)[1]:
                opened.send(piece)
        process, deadline = psutil.Process(server.pid), time.monotonic() + 15
        while (held := _established(process)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not held


def _established(process: psutil.Process) -> int:
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


def test_connections_beyond_the_limit_are_refused_and_the_others_served(cache: str) -> None:
    settings = {"max_connections": 4, "head_timeout": 30}
    with ServerProcess(["--cache", cache], settings=settings) as server:
        with ExitStack() as stack:
            taken = [stack.enter_context(connection(server)) for _ in range(4)]
            for opened in taken:
                assert statuses(exchange(opened, GET)) == [200]
            for _ in range(3):
                with connection(server) as refused:
                    assert statuses(received(refused)) == [503]
            assert OSLO_BODY in exchange(taken[0], post("/virtual", json.dumps(as_virtual(OSLO)).encode()))
        deadline = time.monotonic() + 15
        while _established(psutil.Process(server.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert httpx.get(f"{server.url}/healthz").status_code == 200
