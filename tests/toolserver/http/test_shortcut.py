"""A server that knows the heads of requests says, byte for byte, what one says that parses every request."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.toolserver.serving import OSLO, RECORDED, as_request, as_virtual, make_cache
from tests.toolserver.upstream_stub import upstream_stub
from toolserver.episodes.state_token import opening_token
from toolserver.errors import CacheError
from toolserver.http.app import ToolServerApp, create_app
from toolserver.http.protocol import KNOWN_RELEASE, ShortcutProtocol, http_protocol
from toolserver.http.shortcut import SHORTCUT
from toolserver.settings import Settings


def post(value: Any, *headers: str, path: str = "/virtual", version: str = "1.1") -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"POST {path} HTTP/{version}", "Host: here", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


KNOWN = post(as_virtual(OSLO))
BODY = json.dumps(as_virtual(OSLO)).encode()
OPENING = b"POST /virtual HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
HEAD = KNOWN[: -len(BODY)]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # any 16 bytes
LAST = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


def as_long(value: Any, length: int = len(BODY)) -> bytes:
    """JSON of `length` bytes."""
    return json.dumps(value).encode().ljust(length)


def chunked(body: bytes) -> bytes:
    return OPENING + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


REQUESTS = (
    KNOWN,
    post(as_virtual(RECORDED[1][0])),
    post(as_virtual(OSLO) | {"toolbench_key": "another"}),
    post(as_virtual(OSLO), "X-Trace: 1"),
    post(as_virtual(OSLO), "Expect: 100-continue"),
    post(as_virtual(OSLO), "Connection: keep-alive", version="1.0"),
    post(as_virtual(OSLO), "Connection: close"),
    post(as_virtual(OSLO._replace(arguments={"city": "Rome"}))),
    post(as_virtual(OSLO) | {"category": 1}),
    post(as_virtual(OSLO), path="/virtual?strict=1"),
    post(as_virtual(OSLO), path="/%76irtual"),
    post(b"{"),
    post(b""),
    post(as_request(OSLO), path="/v1/call"),
    post([as_request(OSLO)] * 2, path="/v1/calls"),
    post([as_request(OSLO._replace(state=opening_token(7))), None], path="/v1/calls"),
    chunked(BODY),
    chunked(b"0\r\n\r\n"),
    b"\r\n" + KNOWN,
    b"\r\n\r\n" + KNOWN,
    KNOWN + b"\r\n",
    KNOWN + KNOWN,
    b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n",
    HEAD.replace(b"POST", b"PUT") + BODY,
    HEAD.replace(b"POST", b"HEAD") + BODY,
    HEAD.replace(b"json", b"jsonp") + BODY,
    post(b" " * 3000),
    # The head of KNOWN with other bodies, good and bad.
    HEAD + as_long({**as_virtual(OSLO), "toolbench_key": "1"})[: len(BODY)],
    HEAD + as_long({"category": "Weather"}),
    HEAD + as_long({**as_virtual(OSLO), "tool_input": ""}),
    HEAD + b'{"category": NaN}'.ljust(len(BODY)),
    HEAD + b'{"category": "\\ud800"}'.ljust(len(BODY)),
    HEAD + b'{"category": "\xff"}'.ljust(len(BODY)),
    HEAD + b'{"tool_input": {"city": 100000000000000000000}}'.ljust(len(BODY)),
    HEAD + b"\r\n\r\n".ljust(len(BODY)),
)

# What may end the connection: the bytes after it are not read.
HOSTILE = (
    post(as_virtual(OSLO), "Connection: Upgrade", "Upgrade: h2c"),
    HEAD + BODY[:-1],
    KNOWN + b"x",
    KNOWN + b"POST /virtual",
    HEAD.replace(b"Content-Length: ", b"Content-Length: 0") + BODY,
    HEAD.replace(b"Content-Length: ", b"Content-Length: +") + BODY,
    HEAD.replace(b"Content-Length: ", b"Content-Length: -") + BODY,
    HEAD.replace(b"Content-Length:", b"Content-Length :") + BODY,
    HEAD.replace(b"\r\n\r\n", b" \r\n\r\n") + BODY,
    HEAD.replace(b"\r\n\r\n", b", %d\r\n\r\n" % len(BODY)) + BODY,
    HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(BODY)) + BODY,
    HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n") + BODY,
    HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + BODY,
    HEAD.replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n") + BODY,
    HEAD.replace(b"\r\n", b"\n") + BODY,
    OPENING + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
    OPENING + b"\r\n" + BODY,
    b"\x16\x03\x01" + KNOWN,
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
    app.front_door._offer_shortcut({"type": "lifespan", "state": app_state})
    state = ServerState()
    state.default_headers = config.encoded_headers
    return Server(app, config, state, app_state)


async def talk(protocol: HttpToolsProtocol, segments: Iterable[bytes], turns: int | None) -> bytes:
    """All that a connection answers to `segments` that arrive `turns` turns of the loop apart, until it is closed.

    With `None`, each comes when those before are answered, as far as they can be, and then the client hangs up.
    """
    here, there = socket.socketpair()
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: protocol, there)
    reader, writer = await asyncio.open_connection(sock=here)
    for segment in segments:
        if not protocol.transport.is_closing():
            protocol.data_received(segment)
        if turns is None:
            await settle(protocol)
        for _ in range(turns or 0):
            await asyncio.sleep(0)
    if turns is None:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await asyncio.gather(*protocol.tasks)  # an application may still be busy with a request that nobody waits for
    return answer


async def settle(protocol: HttpToolsProtocol) -> None:
    """Wait until nothing is left to be answered, or a body must come first."""
    while not protocol.transport.is_closing() and (
        protocol.pipeline
        or not (protocol.cycle is None or protocol.cycle.response_complete or protocol.cycle.more_body)
    ):
        await asyncio.sleep(0)


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
    """For all options, a server that parses every request, and one that knows some heads."""
    return [
        (serve(application(cache, miss="synthetic"), **options), serve(application(cache, miss="synthetic"), **options))
        for options in OPTIONS
    ]


async def compare(pair: tuple[Server, Server], segments: Sequence[bytes], turns: int | None) -> None:
    parsing, shortened = pair
    for _ in range(2):  # what one connection has left, the next one finds
        expected = await talk(parsing.connect(HttpToolsProtocol), segments, turns)
        assert await talk(shortened.connect(ShortcutProtocol), segments, turns) == expected
    assert shortened.counts() == parsing.counts()
    assert shortened.state.total_requests == parsing.state.total_requests


@example(order=[0, 0, 0], cuts=None, turns=30, option=0)
@example(order=[0, 0, 0], cuts=None, turns=0, option=0)
@example(order=[4, 4, 4, 0], cuts=None, turns=30, option=0)
@example(order=[0, 0, 0], cuts=None, turns=30, option=1)
@example(order=[0, *range(len(REQUESTS)), *range(len(REQUESTS))], cuts=None, turns=30, option=0)
@given(
    order=st.lists(st.sampled_from([0, 0, 0, *range(len(REQUESTS))]), min_size=1, max_size=8),
    cuts=st.none() | st.lists(st.integers(1, 5000), max_size=4),
    turns=st.sampled_from([0, 1, 30]),
    option=st.integers(0, len(OPTIONS) - 1),
)
def test_any_requests_in_any_pieces_are_answered_as_if_all_were_parsed(
    pairs: list[tuple[Server, Server]], order: Sequence[int], cuts: Sequence[int] | None, turns: int, option: int
) -> None:
    segments = [*(REQUESTS[index] for index in order), LAST]
    if cuts is not None:
        segments = cut(b"".join(segments), cuts)
    run(lambda: compare(pairs[option], segments, turns))


@pytest.mark.parametrize("request_", HOSTILE)
def test_hostile_requests_are_answered_as_if_all_were_parsed(
    pairs: list[tuple[Server, Server]], request_: bytes
) -> None:
    run(lambda: compare(pairs[0], [KNOWN, request_, request_, KNOWN, LAST], None))


@given(
    places=st.lists(st.tuples(st.integers(0, len(KNOWN)), st.integers(0, 3), st.binary(max_size=3)), max_size=3),
    seen=st.booleans(),
)
def test_requests_with_bytes_changed_are_answered_as_if_all_were_parsed(
    pairs: list[tuple[Server, Server]], places: Sequence[tuple[int, int, bytes]], seen: bool
) -> None:
    changed = KNOWN
    for place, removed, inserted in places:
        changed = changed[:place] + inserted + changed[place + removed :]
    before = [changed, changed] if seen else [KNOWN]
    run(lambda: compare(pairs[0], [*before, changed, KNOWN, LAST], None))


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    inside = sorted({place for place in places if place < len(stream)})
    return [stream[start:end] for start, end in zip([0, *inside], [*inside, len(stream)], strict=True)]


async def make_known(server: Server, request: bytes = KNOWN) -> None:
    await talk(server.connect(ShortcutProtocol), [request, LAST], 30)


def knows(server: Server, request: bytes) -> bool:
    shortcut = server.app_state.get(SHORTCUT)
    return shortcut is not None and shortcut.answer(request) is not None


@pytest.mark.parametrize(
    "request_",
    [
        KNOWN,
        HEAD.lower().replace(b"post", b"POST").replace(b"http", b"HTTP") + BODY,
        post(as_request(OSLO), path="/v1/call"),
        post([as_request(OSLO)] * 2, path="/v1/calls"),
    ],
)
def test_a_request_is_known_from_the_second_time_on(cache: Path, request_: bytes) -> None:
    async def ask() -> None:
        server = serve(application(cache))
        assert not knows(server, request_)
        await make_known(server, request_)
        assert knows(server, request_)

    run(ask)


def test_a_head_is_known_with_any_regular_body_of_its_length(cache: Path) -> None:
    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        assert knows(server, HEAD + BODY.replace(b"Oslo", b"Rome"))  # not recorded
        assert knows(server, HEAD + as_long({**as_virtual(OSLO), "tool_input": ""}))
        assert not knows(server, HEAD + BODY[:-1])
        assert not knows(server, KNOWN + b" ")
        assert not knows(server, HEAD + BODY.replace(b"Oslo", b"\xff\xff\xff\xff"))
        assert not knows(server, HEAD + as_long([]))

    run(ask)


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (post(as_virtual(OSLO), "Expect: 100-continue"), {}),
        (post(as_virtual(OSLO), "Connection: keep-alive", version="1.0"), {}),
        (post(as_virtual(OSLO), "Connection: close"), {}),
        (post(as_virtual(OSLO), "Connection: Upgrade", "Upgrade: h2c"), {}),
        (post(as_virtual(OSLO), "X-Long: " + "x" * 5000), {}),
        (HEAD.replace(b"json", b"jsonp") + BODY, {}),
        (b"\r\n\r\n" + KNOWN, {}),
        (chunked(BODY), {}),
        (chunked(b"0\r\n\r\n"), {}),
        (KNOWN, OPTIONS[1]),
    ],
)
def test_other_heads_are_never_known(cache: Path, request_: bytes, options: dict[str, Any]) -> None:
    async def ask() -> None:
        server = serve(application(cache), **options)
        for _ in range(4):
            await make_known(server, request_)
        assert not server.app_state[SHORTCUT]._heads.keys() - {LAST}
        assert not knows(server, request_)

    run(ask)


@pytest.mark.parametrize("settings", [{"rate_limit": 1000.0}, {"hot_path": False}])
def test_nothing_is_known_where_every_request_must_be_looked_at(cache: Path, settings: dict[str, Any]) -> None:
    async def ask() -> None:
        server = serve(application(cache, **settings))
        await make_known(server)
        assert SHORTCUT not in server.app_state

    run(ask)


def test_what_must_be_waited_for_is_asked_for_once(cache: Path) -> None:
    """A miss that goes upstream is answered on the ordinary way, although its head is known."""
    rome = HEAD + BODY.replace(b"Oslo", b"Rome")
    calls = [as_request(OSLO), as_request(OSLO._replace(arguments={"city": "Rome"}))]
    batches = [post([calls[index], calls[0]], path="/v1/calls") for index in (0, 1)]
    with upstream_stub(lambda request: {"error": "", "response": "from upstream"}) as stub:

        async def ask() -> None:
            server = serve(application(cache, miss="live", live_url=stub.url))
            for known, unknown in ((KNOWN, rome), batches):
                await make_known(server, known)
                before = len(stub.requests)
                answer = await talk(server.connect(ShortcutProtocol), [known, unknown, LAST], 30)
                assert answer.count(b"from upstream") == len(stub.requests) - before == 1
            counted, answered = server.counts()
            assert answered == 10  # with the last one of each connection
            assert sum(counted["calls"].values()) == 3 + 3 * 2

        run(ask)


@pytest.mark.parametrize(("error", "status"), [(CacheError("broken"), b"503"), (RuntimeError("a bug"), b"500")])
def test_what_fails_is_told_as_on_the_ordinary_way(
    cache: Path, error: Exception, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(key: bytes) -> None:
        raise error

    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        monkeypatch.setattr(server.app.state.assembly.cache, "get", fail)
        rome = HEAD + BODY.replace(b"Oslo", b"Rome")
        answer = await talk(server.connect(ShortcutProtocol), [rome, LAST], 30)
        assert answer.startswith(b"HTTP/1.1 " + status)

    run(ask)


@pytest.mark.parametrize("before", [[], [KNOWN]])
def test_a_websocket_is_refused_as_ever(cache: Path, before: list[bytes]) -> None:
    handshake = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + KEY]
    request = "\r\n".join(["GET /virtual HTTP/1.1", "Host: here", *handshake, "", ""]).encode()

    async def ask() -> None:
        server = serve(application(cache))
        answer = await talk(server.connect(ShortcutProtocol), [*before, request], 30)
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
            protocol = server.connect(ShortcutProtocol)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, there)
            protocol.data_received(KNOWN)
            assert protocol.cycle is not None  # made by the parser
            protocol.transport.close()

    run(ask)


def test_a_connection_with_known_heads_only_is_closed_when_it_idles(cache: Path) -> None:
    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        server.config.timeout_keep_alive = 0
        answer = await talk(server.connect(ShortcutProtocol), [KNOWN], 0)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    run(ask)


def test_a_known_head_keeps_its_connection_open(cache: Path) -> None:
    """The timer of an earlier request must not close a connection that was used since."""

    async def ask() -> None:
        server = serve(application(cache))
        await make_known(server)
        protocol = server.connect(ShortcutProtocol)
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


def test_the_short_cut_knows_the_uvicorn_that_is_installed() -> None:
    """If this fails, uvicorn has changed: run this file with it, then change `KNOWN_RELEASE`."""
    assert http_protocol() is ShortcutProtocol, f"uvicorn {uvicorn.__version__} is not of {KNOWN_RELEASE}"


@pytest.mark.parametrize(("release", "known"), [("0.32.0", False), ("0.54.9", True), ("0.55.0", False), ("1.0", False)])
def test_a_uvicorn_that_is_not_known_serves_by_itself(
    release: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn, "__version__", release)
    assert http_protocol() is (ShortcutProtocol if known else HttpToolsProtocol)
