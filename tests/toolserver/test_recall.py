"""A server that knows requests by their bytes says, byte for byte, what one says that parses every request."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.toolserver.serving import OSLO, RECORDED, as_request, as_virtual, make_cache
from toolserver.app import ToolServerApp, create_app
from toolserver.protocol import RecallingProtocol
from toolserver.recall import MEMORY
from toolserver.settings import Settings


def post(value: Any, *headers: str, path: str = "/virtual", version: str = "1.1") -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"POST {path} HTTP/{version}", "Host: here", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


KNOWN = post(as_virtual(OSLO))
BODY = json.dumps(as_virtual(OSLO)).encode()
HEAD = b"POST /virtual HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # any 16 bytes
LAST = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"

REQUESTS = (
    KNOWN,
    post(as_virtual(RECORDED[1][0])),
    post(as_virtual(OSLO), "X-Trace: 1"),
    post(as_virtual(OSLO), "Expect: 100-continue"),
    post(as_virtual(OSLO), "Connection: keep-alive", version="1.0"),
    post(as_virtual(OSLO._replace(arguments={"city": "Rome"}))),
    post(as_virtual(OSLO) | {"category": 1}),
    post(b"{"),
    post([as_request(OSLO)] * 2, path="/v1/calls"),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    b"\r\n" + KNOWN,
    KNOWN + b"\r\n",
    b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n",
    post(b" " * 3000),
)


class Server(NamedTuple):
    """What uvicorn makes a connection's protocol from, and the application behind it."""

    app: ToolServerApp
    config: Config
    state: ServerState
    app_state: dict[str, Any]

    def connect(self, kind: type[HttpToolsProtocol]) -> HttpToolsProtocol:
        return kind(self.config, self.state, self.app_state, asyncio.get_running_loop())

    def counts(self) -> tuple[dict[str, Any], float]:
        """What the application counted, but for the time that it took."""
        meter = self.app.state.meter
        counted = meter._snapshot()
        answered = sum(sum(row[:-1]) for row in counted.pop("latency").values())
        return counted, answered


def serve(app: ToolServerApp, **options: Any) -> Server:
    config = Config(app, access_log=False, log_level="critical", server_header=False, date_header=False, **options)
    config.load()
    app_state: dict[str, Any] = {}
    app.front_door._offer_memory({"type": "lifespan", "state": app_state})
    state = ServerState()
    state.default_headers = config.encoded_headers
    return Server(app, config, state, app_state)


async def talk(protocol: HttpToolsProtocol, segments: Iterable[bytes], turns: int) -> bytes:
    """All that a connection answers to `segments` that arrive `turns` turns of the loop apart, until it is closed."""
    here, there = socket.socketpair()
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: protocol, there)
    reader, writer = await asyncio.open_connection(sock=here)
    for segment in segments:
        if protocol.parser is not None:  # not closed yet
            protocol.data_received(segment)
        for _ in range(turns):
            await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache"))


def application(cache: Path, **settings: Any) -> ToolServerApp:
    return create_app(Settings(cache=cache, read_only=True, max_body_bytes=2000, **settings))


OPTIONS: tuple[dict[str, Any], ...] = ({}, {"headers": [("x-server", "here")]})


@pytest.fixture(scope="module")
def pairs(cache: Path) -> list[tuple[Server, Server]]:
    """For all options, a server that parses every request, and one that knows some."""
    return [(serve(application(cache), **options), serve(application(cache), **options)) for options in OPTIONS]


@example(order=[0, 0, 0], cuts=None, turns=30, option=0)
@example(order=[0, 0, 0], cuts=None, turns=0, option=0)
@example(order=[3, 3, 3, 0], cuts=None, turns=30, option=0)
@example(order=[0, 0, 0], cuts=None, turns=30, option=1)
@given(
    order=st.lists(st.sampled_from([0, 0, 0, *range(len(REQUESTS))]), min_size=1, max_size=8),
    cuts=st.none() | st.lists(st.integers(1, 5000), max_size=4),
    turns=st.sampled_from([0, 1, 30]),
    option=st.integers(0, len(OPTIONS) - 1),
)
def test_any_requests_in_any_pieces_are_answered_as_without_memory(
    pairs: list[tuple[Server, Server]], order: Sequence[int], cuts: Sequence[int] | None, turns: int, option: int
) -> None:
    parsing, recalling = pairs[option]
    segments = [*(REQUESTS[index] for index in order), LAST]
    if cuts is not None:
        segments = cut(b"".join(segments), cuts)

    async def compare() -> None:
        for _ in range(2):  # what one connection has left, the next one finds
            expected = await talk(parsing.connect(HttpToolsProtocol), segments, turns)
            assert await talk(recalling.connect(RecallingProtocol), segments, turns) == expected
        assert recalling.counts() == parsing.counts()
        assert recalling.state.total_requests == parsing.state.total_requests

    run(compare)


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    inside = sorted({place for place in places if place < len(stream)})
    return [stream[start:end] for start, end in zip([0, *inside], [*inside, len(stream)], strict=True)]


async def make_known(server: Server) -> None:
    """Ask twice: after the first time, the body is known, and after the second, all of the request."""
    await talk(server.connect(RecallingProtocol), [KNOWN, KNOWN, LAST], 30)


def knows(server: Server, request: bytes) -> bool:
    memory = server.app_state.get(MEMORY)
    return memory is not None and memory.answer(request) is not None


def test_a_recorded_answer_is_known_from_the_third_time_on(cache: Path) -> None:
    async def ask() -> None:
        server = serve(application(cache))
        await talk(server.connect(RecallingProtocol), [KNOWN, LAST], 30)
        assert not knows(server, KNOWN)
        await make_known(server)
        assert knows(server, KNOWN)

    run(ask)


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (REQUESTS[3], {}),  # 100 Continue
        (REQUESTS[4], {}),  # HTTP/1.0
        (post(as_virtual(OSLO), "Connection: close"), {}),
        (REQUESTS[5], {}),  # not recorded
        (REQUESTS[8], {}),
        (post(as_virtual(OSLO), "X-Long: " + "x" * 5000), {}),
        (KNOWN, OPTIONS[1]),
    ],
)
def test_other_requests_are_never_known(cache: Path, request_: bytes, options: dict[str, Any]) -> None:
    async def ask() -> None:
        server = serve(application(cache), **options)
        for _ in range(4):
            await talk(server.connect(RecallingProtocol), [request_, LAST], 30)
        assert not knows(server, request_)

    run(ask)


@pytest.mark.parametrize("settings", [{"rate_limit": 1000.0}, {"hot_path": False}])
def test_nothing_is_known_where_every_request_must_be_looked_at(cache: Path, settings: dict[str, Any]) -> None:
    async def ask() -> None:
        server = serve(application(cache, **settings))
        await make_known(server)
        assert not knows(server, KNOWN)

    run(ask)


@pytest.mark.parametrize("before", [[], [KNOWN]])
def test_a_websocket_is_refused_as_without_memory(cache: Path, before: list[bytes]) -> None:
    handshake = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + KEY]
    request = "\r\n".join(["GET /virtual HTTP/1.1", "Host: here", *handshake, "", ""]).encode()

    async def ask() -> None:
        server = serve(application(cache))
        answer = await talk(server.connect(RecallingProtocol), [*before, request], 30)
        assert answer.count(b"HTTP/1.1 200 OK") == len(before)
        assert b"HTTP/1.1 403 Forbidden" in answer

    run(ask)


def test_a_server_that_logs_requests_parses_all_of_them(cache: Path) -> None:
    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        server.config.access_log = True
        here, there = socket.socketpair()
        with here:
            protocol = server.connect(RecallingProtocol)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, there)
            protocol.data_received(KNOWN)
            assert protocol.cycle is not None  # made by the parser
            protocol.transport.close()

    run(ask)


def test_a_connection_with_known_requests_only_is_closed_when_it_idles(cache: Path) -> None:
    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        server.config.timeout_keep_alive = 0
        answer = await talk(server.connect(RecallingProtocol), [KNOWN], 0)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    run(ask)


def test_a_known_request_keeps_its_connection_open(cache: Path) -> None:
    """The timer of an earlier request must not close a connection that was used since."""

    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        protocol = server.connect(RecallingProtocol)
        here, there = socket.socketpair()
        with here:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, there)
            protocol.data_received(KNOWN)
            protocol.timeout_keep_alive_handler()
            assert not protocol.transport.is_closing()
            assert protocol.timeout_keep_alive_task is not None  # set anew
            protocol.timeout_keep_alive_task.cancel()
            protocol.transport.close()

    run(ask)
