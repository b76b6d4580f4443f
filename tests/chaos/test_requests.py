"""Requests to the server and to plain uvicorn with the same application: the same bytes, however they are cut."""

import json
import re
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import NamedTuple

import httpx
import pytest

from benchmarks.harness.process import Server, serve_app
from tests.chaos import odd
from tests.chaos.campaign import Campaign, Scenario
from tests.toolserver.serving import OSLO, RECORDED, as_request, as_virtual, make_cache
from toolserver.testing import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SETTINGS = {"TOOLSERVER_STATE_KEY": "one key for both servers", "TOOLSERVER_READ_ONLY": "1"}
SILENCE, LONG_SILENCE = 0.3, 2.0  # seconds after which a server that still waits for bytes is taken to answer no more
TRIES = 6  # further ones after a difference, which the times of arrival explain if the answers are ever equal


class Pair(NamedTuple):
    """Addresses of the server and of plain uvicorn."""

    ours: tuple[str, int]
    plain: tuple[str, int]


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Server]]:
    cache = str(make_cache(tmp_path_factory.mktemp("cache")))
    settings = {**SETTINGS, "TOOLSERVER_CACHE": cache}
    flags = ("--factory", "--http", "httptools", "--no-server-header", "--no-date-header", "--no-proxy-headers")
    own = {name.removeprefix("TOOLSERVER_"): value for name, value in SETTINGS.items()}
    with (
        ServerProcess(["--cache", cache], settings=own) as ours,
        serve_app("toolserver.http.app:create_app", *flags, settings=settings) as plain,
    ):
        yield ours, plain


def body_of(rng: Random) -> tuple[str, bytes]:
    """Path and body of a request that calls tools, good or odd."""
    call = rng.choice(RECORDED)[0]._replace(state=rng.choice(("", "", "open:seed=1", "st1.bad")))
    path = rng.choice(("/virtual", "/v1/call", "/v1/calls"))
    good = as_virtual(call) if path == "/virtual" else as_request(call)
    text = json.dumps(good) if rng.random() < 0.5 else odd.fields(rng, good)
    if path == "/v1/calls":
        text = f"[{', '.join([text, json.dumps(as_request(OSLO))] * rng.choice((0, 1, 1, 3)))}]"
    return path, text.encode(errors="replace")


def request_of(rng: Random) -> bytes:
    """A valid request."""
    if rng.random() < 0.25:
        path = rng.choice(
            ("/healthz", "/v1/apis?q=weather", "/v1/apis?limit=x", "/nowhere", "/v1/info", "/v1/calls", "/%00")
        )
        method = rng.choice(("GET", "GET", "HEAD", "OPTIONS", "DELETE"))
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Odd: {'a' * rng.choice((0, 5, 900))}\r\n\r\n".encode()
    path, body = body_of(rng)
    kind = rng.choice(("application/json", "application/json", "application/json; charset=utf-8", "text/plain", "a"))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
    if rng.random() < 0.2:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in odd.pieces(rng, body))
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
    expected = "Expect: 100-continue\r\n" if rng.random() < 0.05 else ""
    return f"{head}{expected}Content-Length: {len(body)}\r\n\r\n".encode() + body


def broken_request(rng: Random) -> bytes:
    """A request with changes in its head or anywhere."""
    data = request_of(rng)
    end = data.find(b"\r\n\r\n") + 4 if rng.random() < 0.7 else len(data)
    return odd.damaged(rng, data[:end])[:3000] + data[end:]


def exchange(to: tuple[str, int], sent: list[bytes], silence: float) -> bytes:
    """Send pieces; all bytes until the server closes the connection, or sends nothing more."""
    received = []
    with socket.create_connection(to, 30) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in sent:
                opened.sendall(piece)
            while select.select([opened], [], [], silence)[0] and (part := opened.recv(65536)):
                received.append(part)
        except ConnectionError:  # closed while it was written to
            pass
    return b"".join(received)


def statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def compare(scenario: Scenario, pair: Pair, sent: list[bytes], silence: float) -> None:
    with ThreadPoolExecutor(2) as pool:
        ours, plain = pool.map(lambda to: exchange(to, sent, silence), pair)
    for status in statuses(ours):
        scenario.answered(status, b"".join(sent)[:300])
    if ours != plain:
        further = [{exchange(to, sent, LONG_SILENCE) for _ in range(TRIES)} for to in pair]
        if not (further[0] | {ours}) & (further[1] | {plain}):
            scenario.fail("wrong", f"{b''.join(sent)[:200]!r}: {ours[-200:]!r} for {plain[-200:]!r}")


def test_requests_are_answered_as_by_plain_uvicorn(campaign: Campaign, servers: tuple[ServerProcess, Server]) -> None:
    rng = campaign.rng
    pair = Pair(address(servers[0].url), address(servers[1].url))
    with campaign.scenario("requests, as by plain uvicorn") as scenario:
        scenario.sample(servers[0].pid)
        while scenario.trials < campaign.count(16_000):
            if rng.random() < 0.9:  # a pipeline, whose last answer closes the connection
                requests = [request_of(rng) for _ in range(rng.choice((1, 4, 12, 40)))]
                compare(scenario, pair, list(odd.pieces(rng, b"".join(requests) + LAST)), LONG_SILENCE)
                scenario.trials += len(requests)
            else:
                compare(scenario, pair, list(odd.pieces(rng, broken_request(rng) + LAST)), SILENCE)
                scenario.trials += 1
            scenario.sample(servers[0].pid)
        scenario.expect(httpx.get(f"{servers[0].url}/readyz").status_code == 200, "lost", "the server does not answer")
