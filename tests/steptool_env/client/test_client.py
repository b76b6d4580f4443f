"""The HTTP client, with servers that answer, are unreachable, overloaded or of another kind."""

import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.client import API_KEY_VARIABLE, HttpToolClient
from steptool_env.client.transport import Reply
from steptool_env.errors import ConfigurationError, ToolTransportError
from tests.server_stub import QuietHandler, running
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import load_catalog
from toolserver.catalog.api_schema import ToolCall
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.service.service import ToolService
from toolserver.testing import ServerProcess

CALL = ToolCall("Data", "TheClique", "Transfermarkt search", '{"name": "Messi"}')
ANSWER = {
    "outcome": "ok",
    "status": 0,
    "provenance": "recorded",
    "state": "",
    "latency": 0.0,
    "body": '{"error": "", "response": "é"}',
}


class Scripted(QuietHandler):
    """Answers each request as the server's script says, and remembers what came."""

    protocol_version = "HTTP/1.1"

    def post(self, body: bytes) -> None:
        self.server.requests.append((self.path, dict(self.headers), body))
        status, headers, content = self.server.script[min(len(self.server.requests), len(self.server.script)) - 1]
        self.reply(status, content, headers)


def scripted(
    *script: tuple[int, dict[str, str], bytes], handler: type[Scripted] = Scripted
) -> AbstractContextManager[Any]:
    return running(handler, script=script, requests=[])


def good(number: int) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps([ANSWER] * number).encode()


@contextmanager
def client_for(server: Any, **options: Any) -> Iterator[tuple[HttpToolClient, list[float]]]:
    waits: list[float] = []
    client = HttpToolClient(f"http://127.0.0.1:{server.server_port}", sleep=waits.append, **options)
    yield client, waits
    client.close()


def test_calls_travel_together_and_bodies_come_back_as_they_are() -> None:
    reply = json.dumps([ANSWER, ANSWER, {**ANSWER, "state": "t"}]).encode()
    with scripted((200, {}, reply)) as server, client_for(server) as (client, _):
        answers = client.call_many([CALL, CALL, CALL._replace(state="s", arguments="{")])
    assert [answer.body.decode() for answer in answers] == [ANSWER["body"]] * 3
    assert [answer.state for answer in answers] == ["", "", "t"]
    ((path, _, body),) = server.requests
    assert path == "/v1/calls"
    names = {"category": CALL.category, "tool": CALL.tool, "api": CALL.api}
    assert json.loads(body)[2] == {**names, "arguments": "{", "state": "s"}


def test_a_long_batch_is_split_and_kept_in_order() -> None:
    with scripted(good(2), good(2), good(1)) as server, client_for(server, max_batch=2) as (client, _):
        assert len(client.call_many([CALL] * 5)) == 5
    assert [len(json.loads(body)) for _, _, body in server.requests] == [2, 2, 1]


def test_what_is_too_much_for_one_request_is_sent_in_parts_and_kept_in_order() -> None:
    replies = [json.dumps([{**ANSWER, "state": str(number)}]).encode() for number in range(3)]
    script = [(413, {}, b""), (200, {}, replies[0]), (413, {}, b""), (200, {}, replies[1]), (200, {}, replies[2])]
    with scripted(*script) as server, client_for(server) as (client, _):
        assert [answer.state for answer in client.call_many([CALL] * 3)] == ["0", "1", "2"]
    assert [len(json.loads(body)) for _, _, body in server.requests] == [3, 1, 2, 1, 1]
    with scripted((413, {}, b"")) as server, client_for(server) as (client, _):
        with pytest.raises(ToolTransportError, match="HTTP 413"):
            client.call_many([CALL])
        assert len(server.requests) == 1


def test_no_calls_are_no_request() -> None:
    with scripted(good(0)) as server, client_for(server) as (client, _):
        assert client.call_many([]) == []
    assert not server.requests


def test_a_server_without_room_is_waited_for_as_it_asks() -> None:
    busy = (503, {"retry-after": "4"}, b"")
    with scripted(*[busy] * 5, good(1)) as server, client_for(server, retries=0) as (client, waits):
        assert len(client.call_many([CALL])) == 1
    assert waits == [4.0] * 5


def test_retries_of_an_overloaded_server_wait_as_it_asks() -> None:
    slow, slower = ((429, {"retry-after": seconds}, b"") for seconds in ("2", "999"))
    with scripted((503, {}, b""), slow, slower, good(1)) as server, client_for(server) as (client, waits):
        assert len(client.call_many([CALL])) == 1
    assert waits == [0.1, 2.0, 5.0]


@pytest.mark.parametrize(
    ("reply", "says", "requests"),
    [
        ((500, {}, b"broken"), "HTTP 500: broken", 3),
        ((401, {}, b"no key"), f"set {API_KEY_VARIABLE}", 1),
        ((404, {}, b"not here"), "HTTP 404", 1),
        ((200, {}, json.dumps([ANSWER, ANSWER]).encode()), "2 answers to 1 calls", 3),
    ],
)
def test_what_is_no_answer_is_a_transport_error(reply: Any, says: str, requests: int) -> None:
    with (
        scripted(reply) as server,
        client_for(server, retries=2) as (client, _),
        pytest.raises(ToolTransportError, match=says),
    ):
        client.call_many([CALL])
    assert len(server.requests) == requests


def wrong(**fields: Any) -> bytes:
    return json.dumps([{**ANSWER, "state": "t", **fields}]).encode()


WRONG_ANSWERS = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b"[1]",
    b"[null]",
    b"[[]]",
    b'["body"]',
    wrong()[:-9],
    wrong() + b"]",
    b"[" * 1200,
    json.dumps([ANSWER, ANSWER]).encode(),
    *(
        json.dumps([{field: value for field, value in ANSWER.items() if field != name}]).encode()
        for name in ANSWER
        if name != "status"
    ),
    *(wrong(state=state) for state in (None, "", 5, [], "é")),
    *(wrong(body=body) for body in (None, 5, {"error": "", "response": ""}, ["a"])),
    *(wrong(latency=latency) for latency in (None, "1", True, -1, [], float("inf"))),
    *(wrong(outcome=outcome) for outcome in (None, 0, "fine", [], {})),
    *(wrong(provenance=provenance) for provenance in (None, "rumour", [])),
    wrong(body="\ud800"),
]


@pytest.mark.parametrize("content", WRONG_ANSWERS)
def test_each_field_of_an_answer_is_checked_and_a_wrong_answer_is_retried(content: bytes) -> None:
    """A `null` in place of a state would go on as an episode without state, and be scored."""
    call = CALL._replace(state="s")
    with scripted((200, {}, content), (200, {}, wrong())) as server, client_for(server) as (client, waits):
        assert [(answer.state, answer.latency) for answer in client.call_many([call])] == [("t", 0.0)]
        assert (len(server.requests), waits) == (2, [0.1])
    with scripted((200, {}, content)) as server, client_for(server, retries=1) as (client, _):
        with pytest.raises(ToolTransportError, match="did not answer as a tool server"):
            client.call_many([call])
        assert len(server.requests) == 2


def test_a_server_that_accepts_no_connection_is_waited_for_by_time() -> None:
    with scripted(good(1)) as server:
        port = server.server_port
    waits: list[float] = []
    client = HttpToolClient(f"http://127.0.0.1:{port}", sleep=waits.append, retries=2)
    with pytest.raises(ToolTransportError, match=f"http://127.0.0.1:{port}: Connect"):
        client.call_many([CALL])
    assert waits[:5] == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert sum(waits[:-2]) == pytest.approx(30.0)
    assert max(waits) == 1.0
    waits.clear()  # it is known to be away: the next episode does not wait as long again
    with pytest.raises(ToolTransportError):
        client.call_many([CALL])
    assert waits == [0.1, 0.2]
    client.close()


@pytest.mark.parametrize("status", [502, 503])
def test_a_proxy_without_a_server_is_waited_for_by_time(status: int) -> None:
    away = (status, {}, b"no server is available")
    with scripted(*[away] * 20, good(1)) as server, client_for(server) as (client, waits):
        assert len(client.call_many([CALL])) == 1
    assert 10 < sum(waits) < 20


def test_a_killed_server_that_starts_again_loses_nothing(stabletoolbench_cache: Path) -> None:
    serve = ["--cache", str(stabletoolbench_cache), "--read-only"]
    with ServerProcess(serve) as first:
        port = int(first.url.rsplit(":", 1)[1])
        second = ServerProcess(serve, port=port)
        waits: list[float] = []

        def start_again_at_third_wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                second.__enter__()

        client = HttpToolClient(first.url, sleep=start_again_at_third_wait, retries=0)
        before = client.call_many([CALL] * 5)
        os.kill(first.pid, signal.SIGKILL)
        first.close()
        try:
            assert client.call_many([CALL] * 5) == before
        finally:
            second.close()
        assert waits == [0.1, 0.2, 0.4]
        client.close()


def test_answers_that_are_too_long_together_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steptool_env.client.transport.MAX_REPLY_BYTES", 150)
    with scripted(good(4), good(2), good(1), good(1), good(2), good(1)) as server, client_for(server) as (client, _):
        assert len(client.call_many([CALL] * 4)) == 4
    assert [len(json.loads(body)) for _, _, body in server.requests] == [4, 2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("reply", [(200, {}, b"[]"), (429, {"retry-after": "9"}, b""), (503, {}, b"")])
def test_a_check_takes_a_server_that_is_there_even_if_it_is_busy(reply: Any) -> None:
    with scripted(reply) as server, client_for(server) as (client, waits):
        client.check()
    assert [(path, body) for path, _, body in server.requests] == [("/v1/calls", b"[]")]
    assert not waits


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((404, {}, b"not here"), r"no tool server answers at .* \(HTTP 404: not here\).*toolserver serve"),
        ((200, {}, b"<html>"), "no tool server answers at .*<html>"),
        ((502, {}, b""), "no tool server answers at .*HTTP 502"),
        ((401, {}, b"no key"), f"HTTP 401: no key; set {API_KEY_VARIABLE}"),
    ],
)
def test_a_check_tells_what_is_no_tool_server_of_ours(reply: Any, says: str) -> None:
    with (
        scripted(reply) as server,
        client_for(server) as (client, waits),
        pytest.raises(ToolTransportError, match=says),
    ):
        client.check()
    assert len(server.requests) == 1
    assert not waits


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "secret-key")
    with scripted(good(1)) as server, client_for(server) as (client, _):
        client.call_many([CALL])
        assert b"secret-key" not in pickle.dumps(client.url)
    assert server.requests[0][1]["authorization"] == "Bearer secret-key"


def test_a_transport_can_be_given() -> None:
    class Fixed:
        def __init__(self, url: str, headers: Any, timeout: float) -> None:
            self.made = url, timeout

        def send(self, path: str, content: bytes | None = None) -> Reply:
            return Reply(200, "", json.dumps([{**ANSWER, "state": f"{path} {self.made}"}]).encode())

        def close(self) -> None:
            pass

    client = HttpToolClient("http://host", timeout=2.0, transport=Fixed)
    assert client.call_many([CALL])[0].state == "/v1/calls ('http://host', 2.0)"


def test_a_client_is_pickled_without_its_connection() -> None:
    client = HttpToolClient("http://127.0.0.1:9/", timeout=3.0)
    twin = pickle.loads(pickle.dumps(client))
    assert (twin.url, twin.timeout) == ("http://127.0.0.1:9", 3.0)
    client.close()
    twin.close()


@pytest.mark.parametrize("key", ["k\n", "k\r\nx: 1", "schlüssel"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, key)
    with pytest.raises(ConfigurationError, match=f"^{API_KEY_VARIABLE} holds") as refused:
        HttpToolClient("http://127.0.0.1:9")
    assert key.split()[0] not in str(refused.value).split()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:port", None])
def test_an_invalid_address_is_named(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="server_url="):
        HttpToolClient(url)


NAMES = st.sampled_from(["Data", "TheClique", "Transfermarkt search", "nobody", "", "É"])
ARGUMENTS = st.sampled_from(["", "{}", "{", "[]", '{"name": "Lionel Messi"}', '{"a": NaN}', '{"a": 1e400}', "\ud800"])
CALLS = st.builds(
    ToolCall, NAMES, NAMES, NAMES, ARGUMENTS | st.text(max_size=20), st.sampled_from(["", "open", "x"]), st.none()
)


@pytest.fixture(scope="module")
def served(stabletoolbench_cache: Path) -> Iterator[tuple[HttpToolClient, ToolService]]:
    """The same recordings, behind a server and in process."""
    service = ToolService(
        load_catalog(stabletoolbench_cache), [RecordedResolver(ResponseCache(stabletoolbench_cache, read_only=True))]
    )
    with ServerProcess(["--cache", str(stabletoolbench_cache), "--read-only"]) as server:
        client = HttpToolClient(server.url)
        yield client, service
        client.close()
    service.close()


@settings(max_examples=60)
@given(calls=st.lists(CALLS, max_size=8))
def test_any_calls_are_answered_equally_over_http_and_in_process(
    served: tuple[HttpToolClient, ToolService], calls: list[ToolCall]
) -> None:
    client, service = served
    stateless = [call._replace(state="") for call in calls]
    assert client.call_many(stateless) == service.call_many(stateless)
    assert len(client.call_many(calls)) == len(calls)


@settings(max_examples=20, deadline=None)
@given(calls=st.lists(CALLS, min_size=1, max_size=8), copies=st.integers(1, 40))
def test_a_stream_gives_the_same_answers_in_the_same_order(
    served: tuple[HttpToolClient, ToolService], calls: list[ToolCall], copies: int
) -> None:
    client, service = served
    stateless = [call._replace(state="") for call in calls] * copies
    assert list(client.stream(stateless)) == service.call_many(stateless)


def test_a_stream_is_a_few_requests_at_once_where_it_is_long() -> None:
    """The server keeps every answer back until the last request is there."""
    together = threading.Barrier(4, timeout=30)

    class Together(Scripted):
        def post(self, body: bytes) -> None:
            together.wait()
            super().post(body)

    with scripted(good(64), handler=Together) as server, client_for(server) as (client, _):
        assert len(list(client.stream([CALL] * 256))) == 256
    assert [len(json.loads(body)) for _, _, body in server.requests] == [64] * 4


def test_a_short_stream_is_one_request() -> None:
    with scripted(good(64)) as server, client_for(server) as (client, _):
        assert len(list(client.stream([CALL] * 64))) == 64
    assert len(server.requests) == 1


def test_a_stream_ends_where_an_answer_is_lost() -> None:
    with scripted((404, {}, b"gone")) as server, client_for(server) as (client, _):
        answers = client.stream([CALL] * 256)
        with pytest.raises(ToolTransportError, match="HTTP 404"):
            next(answers)
        assert list(answers) == []
