"""HTTP transports: both give the same replies, however an answer is cut, and whenever a connection ends."""

import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.client.transport import (
    HttpxTransport,
    NoServerError,
    PlainTransport,
    Reply,
    ReplyTooLargeError,
    TransportError,
    _is_stale,
    make_transport,
)
from tests.server_stub import QuietHandler, running

PREFIX, PATH = "/base", "/v1/calls"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[1,2]"
ANSWERS = {
    "plain": WHOLE,
    "empty": b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n",
    "to the end": b"HTTP/1.1 500 No\r\nretry-after: soon\r\n\r\nbroken",
    "old": b"HTTP/1.0 200 OK\r\n\r\n[1,2]",
    "announced": b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
    "last": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\n[1,2]",
}


class Server:
    """Answers each request with the next script, in pieces; it closes a connection after a script of `None`."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}{PREFIX}"
        self.scripts: list[Sequence[bytes]] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        """Answer until a script ends with an empty piece, which ends the connection, or the client goes."""
        while True:
            request = b""
            while b"\r\n\r\n" not in request or not request.endswith(b"[]"):
                try:
                    received = connection.recv(65536)
                except ConnectionError:
                    return
                if not received:
                    return
                request += received
            self.requests.append(request)
            for piece in self.scripts.pop(0):
                if not piece:
                    return
                connection.sendall(piece)


@contextmanager
def serving() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def ask(transport: Any, server: Server, *pieces: bytes) -> Reply:
    server.scripts.append(pieces)
    reply = transport.send(PATH, b"[]")
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize("name", ANSWERS)
def test_both_transports_give_the_same_reply(name: str, server: Server) -> None:
    replies = []
    for make in (PlainTransport, HttpxTransport):
        with closing(make(server.url, {}, 5.0)) as transport:
            replies.append(ask(transport, server, ANSWERS[name], b""))
    assert replies[0] == replies[1]


@settings(max_examples=40)
@given(data=st.data(), name=st.sampled_from(sorted(ANSWERS)))
def test_however_an_answer_is_cut_it_is_the_same(data: st.DataObject, name: str) -> None:
    answer = ANSWERS[name]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=4)))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    with serving() as server:
        replies = []
        for each in (pieces, [answer]):
            with closing(make_transport(server.url, {}, 5.0)) as transport:
                replies.append(ask(transport, server, *each, b""))
    assert replies[0] == replies[1]


def test_a_connection_is_kept_and_replaced_once_the_server_has_closed_it(server: Server) -> None:
    before = server.connections
    with closing(make_transport(server.url, {"authorization": "Bearer k"}, 5.0)) as transport:
        for _ in range(3):
            assert ask(transport, server, WHOLE).content == b"[1,2]"
        assert server.connections == before + 1
        assert ask(transport, server, WHOLE, b"").content == b"[1,2]"
        ended = transport._idle[0]  # type: ignore[attr-defined]
        while not _is_stale(ended):
            pass  # until the server's end has arrived
        assert ask(transport, server, WHOLE).content == b"[1,2]"
        assert server.connections == before + 2
    request = server.requests[-1].decode().lower()
    assert request.startswith(f"post {PREFIX}{PATH} http/1.1\r\n")
    assert f"\r\nhost: {httpx.URL(server.url).netloc.decode()}\r\n" in request
    assert "\r\ncontent-type: application/json\r\n" in request
    assert "\r\nauthorization: bearer k\r\n" in request


@pytest.mark.parametrize("part", [b"", WHOLE[:-1], b"SMTP ready\r\n\r\n", ANSWERS["chunked"][:-8]])
def test_an_invalid_answer_is_an_error_and_the_next_exchange_is_sound(part: bytes, server: Server) -> None:
    with closing(make_transport(server.url, {}, 5.0)) as transport:
        with pytest.raises(TransportError, match=r"^\w+: "):
            ask(transport, server, part, b"")
        assert ask(transport, server, WHOLE).content == b"[1,2]"


@pytest.mark.parametrize("rest", [ANSWERS["empty"], WHOLE, b"SMTP ready\r\n\r\n", WHOLE[:9]])
def test_what_follows_an_answer_is_no_part_of_it(rest: bytes, server: Server) -> None:
    """The rest is discarded with the buffer of its answer, or makes the connection stale: both are sound."""
    with closing(make_transport(server.url, {}, 5.0)) as transport:
        for _ in range(20):
            assert ask(transport, server, WHOLE + rest) == Reply(200, "", b"[1,2]")
            assert ask(transport, server, WHOLE) == Reply(200, "", b"[1,2]")


def test_threads_get_their_own_answers() -> None:
    class Echo(QuietHandler):
        protocol_version = "HTTP/1.1"

        def post(self, body: bytes) -> None:
            self.reply(200, body)

    asked = [b"%d" % number * (1 + number % 50) for number in range(400)]
    with (
        running(Echo) as echo,
        ThreadPoolExecutor(8) as threads,
        closing(make_transport(f"http://127.0.0.1:{echo.server_port}", {}, 5.0)) as transport,
    ):
        assert [reply.content for reply in threads.map(partial(transport.send, "/"), asked)] == asked


@pytest.mark.parametrize("kind", [PlainTransport, HttpxTransport])
def test_a_forked_process_makes_connections_of_its_own(
    kind: type[PlainTransport | HttpxTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[Any] = []

    class Counted(QuietHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.client_address)

        def post(self, body: bytes) -> None:
            self.reply(200, body)

    with running(Counted) as counted, closing(kind(f"http://127.0.0.1:{counted.server_port}", {}, 5.0)) as transport:
        transport.send("/", b"parent")
        monkeypatch.setattr("os.getpid", lambda: -1)  # as a fork finds it
        for _ in range(2):
            assert transport.send("/", b"child").content == b"child"
    assert len(connections) == 2


def test_a_silent_server_is_waited_for_a_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with closing(make_transport(url, {}, 0.05)) as transport, pytest.raises(TransportError, match="Timeout"):
            transport.send(PATH, b"[]")


@contextmanager
def endless(start: bytes, piece: bytes, pause: float) -> Iterator[str]:
    """A server that sends `start`, and `piece` again and again, until the client closes the connection."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(start)
                    while not ended.wait(pause):
                        connection.sendall(piece)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


TRANSPORTS = [PlainTransport, HttpxTransport]


@pytest.mark.parametrize("make", TRANSPORTS)
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"x"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n[\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    ],
    ids=["head", "continue", "length", "chunks", "until the end"],
)
def test_the_time_of_a_reply_is_bounded_however_it_drips(make: Any, start: bytes, piece: bytes) -> None:
    begun = time.monotonic()
    with endless(start, piece, 0.02) as url, closing(make(url, {}, 0.4)) as transport:
        with pytest.raises(TransportError, match=r"(?i)time"):
            transport.send(PATH, b"[]")
        assert 0.35 < time.monotonic() - begun < 5


@pytest.mark.parametrize("make", TRANSPORTS)
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999999\r\n\r\n", b" " * 65536),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n", b" " * 65536),
    ],
    ids=["until the end", "length", "chunks", "one chunk"],
)
def test_the_length_of_a_reply_is_bounded(
    make: Any, start: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steptool_env.client.transport.MAX_REPLY_BYTES", 2**20)
    tracemalloc.start()
    try:
        with (
            endless(start, piece, 0.0) as url,
            closing(make(url, {}, 20.0)) as transport,
            pytest.raises(ReplyTooLargeError, match="more than 1048576 bytes"),
        ):
            transport.send(PATH, b"[]")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", TRANSPORTS)
def test_a_server_that_accepts_no_connection_is_distinguished_from_one_that_breaks_it(
    make: Any, server: Server
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with closing(make(f"http://127.0.0.1:{port}", {}, 5.0)) as transport, pytest.raises(NoServerError, match="Connect"):
        transport.send(PATH, b"[]")
    with closing(make(server.url, {}, 5.0)) as transport, pytest.raises(TransportError) as broken:
        ask(transport, server, b"")
    assert not isinstance(broken.value, NoServerError)


def test_after_a_time_out_httpx_makes_a_new_client(server: Server) -> None:
    with endless(b"HTTP/1.1 200 OK\r\nx: ", b"x", 0.02) as url, closing(HttpxTransport(url, {}, 0.2)) as transport:
        with pytest.raises(TransportError, match="Timeout"):
            transport.send(PATH, b"[]")
        transport._url, transport._timeout = server.url, 5.0
        assert ask(transport, server, WHOLE).content == b"[1,2]"


def test_tls_proxies_and_user_names_are_left_to_httpx(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for url in ("https://127.0.0.1:9", "http://name:word@127.0.0.1:9"):
        with closing(make_transport(url, {}, 1.0)) as transport:
            assert isinstance(transport, HttpxTransport)
    monkeypatch.setenv("http_proxy", server.url.removesuffix(PREFIX))
    with closing(make_transport("http://tools.invalid", {}, 5.0)) as transport:
        assert ask(transport, server, WHOLE).content == b"[1,2]"
    assert server.requests[-1].startswith(b"POST http://tools.invalid/v1/calls HTTP/1.1\r\n")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with closing(make_transport(server.url, {}, 5.0)) as transport:
        assert isinstance(transport, PlainTransport)
        assert ask(transport, server, WHOLE).content == b"[1,2]"
