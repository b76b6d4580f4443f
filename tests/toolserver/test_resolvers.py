"""Sources of answers: the record, templates, models, upstream servers; and the answers that are stored."""

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from tests.server_stub import QuietHandler, Reply, chat_stub, running, upstream_stub
from tests.toolserver.apis import APIS
from tests.toolserver.serving import OSLO, OSLO_BODY, make_cache
from toolserver.cache import ResponseCache
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.resolvers.base import Resolver, ValidatedCall, refuse
from toolserver.resolvers.live import LiveResolver
from toolserver.resolvers.llm import LlmResolver
from toolserver.resolvers.prompts import MIRRORAPI_SYSTEM
from toolserver.resolvers.recorded import RecordedResolver, WriteThroughResolver
from toolserver.resolvers.simulators import read_answer
from toolserver.resolvers.synthetic import SyntheticResolver
from toolserver.service.factory import recorded_examples
from toolserver.service.service import ToolService

BERGEN = OSLO._replace(arguments={"city": "Bergen"})


def ask(resolver: Resolver, call: ToolCall = BERGEN, catalog: Catalog | None = None) -> ToolResponse:
    return ToolService(Catalog(APIS) if catalog is None else catalog, [resolver]).call(call)


class TestRecorded:
    def test_an_answer_is_the_stored_bytes(self, tmp_path: Path) -> None:
        with ResponseCache(make_cache(tmp_path), read_only=True) as cache:
            assert ask(RecordedResolver(cache), OSLO) == ToolResponse(OSLO_BODY)
            assert ask(RecordedResolver(cache), OSLO._replace(arguments='{"city": "Oslo"}')).body == OSLO_BODY

    def test_a_similar_call_is_no_hit(self, tmp_path: Path) -> None:
        with ResponseCache(make_cache(tmp_path), read_only=True) as cache:
            for arguments in ({"city": "oslo"}, {"city": "Oslo", "days": 3}, {}):
                missed = ask(RecordedResolver(cache), OSLO._replace(arguments=arguments))
                assert missed.outcome is Outcome.NOT_RECORDED


class TestSynthetic:
    def test_an_answer_has_the_documented_shape(self) -> None:
        answer = ask(SyntheticResolver())
        assert answer.provenance is Provenance.SYNTHETIC
        assert [set(day) for day in answer.response["days"]] == [{"high"}] * 3
        assert all(isinstance(day["high"], int) for day in answer.response["days"])

    def test_the_same_call_gives_the_same_bytes_on_every_machine(self) -> None:
        bodies = [ask(SyntheticResolver(), ToolCall(*spec.key, {"city": "Oslo"})).body for spec in APIS]
        assert blake2b(b"\n".join(bodies), digest_size=8).hexdigest() == "9ff5cea4df3b2412"

    def test_another_call_gives_another_answer(self) -> None:
        answers = {ask(SyntheticResolver(), OSLO._replace(arguments={"city": str(n)})).body for n in range(20)}
        assert len(answers) > 10

    def test_an_answer_is_about_what_was_asked(self) -> None:
        spec = ApiSpec("A", "t", "a", template_response={"City Name": "str", "pages": [{"city_name": "str"}]})
        answer = ask(SyntheticResolver(), ToolCall("A", "t", "a", {"city name": "Oslo"}), Catalog([spec]))
        assert answer.response["City Name"] == "Oslo"
        assert answer.response["pages"][0]["city_name"] == "Oslo"

    @pytest.mark.parametrize(
        "template",
        [
            {
                "a": "int",
                "b": "float",
                "c": "bool",
                "d": "NoneType",
                "e": "empty list",
                "f": ["list of str with length 9"],
            },
            '{"a": "int"}',
            '{"cut": "off", "he',
            "plain words",
            [],
            None,
            {"_list_length": 4, "deep": [[[[{"x": [{"y": [{"z": "int"}]}]}]]]]},
            {"odd": 7, "type": "unheard of"},
        ],
    )
    def test_any_template_gives_an_answer(self, template: Any) -> None:
        spec = ApiSpec("A", "t", "a", template_response=template)
        answer = ask(SyntheticResolver(), ToolCall("A", "t", "a", {}), Catalog([spec]))
        assert answer.outcome is Outcome.OK
        assert answer.response is not None
        assert "_list_length" not in answer.body.decode()

    def test_an_unknown_api_has_no_synthetic_answer(self) -> None:
        assert ask(SyntheticResolver(), BERGEN._replace(api="other")).outcome is Outcome.UNKNOWN_API


class Counting(Resolver):
    """Answers with an outcome, slowly if asked to, and counts."""

    blocking = True

    def __init__(self, answer: ToolResponse, gate: Event | None = None) -> None:
        self.answer = answer
        self.gate = gate
        self.asked = 0

    def resolve(self, call: ValidatedCall) -> ToolResponse:
        self.asked += 1
        if self.gate is not None:
            assert self.gate.wait(10)
        return self.answer


LIVE = ToolResponse(encode_body("", "fresh"), Outcome.OK, Provenance.LIVE)


class TestRecording:
    def make(self, cache: ResponseCache, inner: Resolver) -> ToolService:
        return ToolService(
            Catalog(APIS), [RecordedResolver(cache), WriteThroughResolver(inner, cache, "test", lambda: "T")]
        )

    def test_a_success_is_asked_for_once(self, tmp_path: Path) -> None:
        with ResponseCache(make_cache(tmp_path)) as cache:
            inner = Counting(LIVE)
            tools = self.make(cache, inner)
            assert [tools.call(BERGEN) for _ in range(3)] == [LIVE] * 3
            assert inner.asked == 1
            kept = [entry.describe() for _, entry in cache.entries() if entry.body == LIVE.body]
            assert [(entry.source, entry.recorded_at) for entry in kept] == [("test", "T")]

    def test_identical_concurrent_calls_go_upstream_once(self, tmp_path: Path) -> None:
        with ResponseCache(make_cache(tmp_path)) as cache, ThreadPoolExecutor(32) as pool:
            gate = Event()
            inner = Counting(LIVE, gate)
            tools = self.make(cache, inner)
            answers = [pool.submit(tools.call, BERGEN) for _ in range(32)]
            gate.set()
            assert {answer.result() for answer in answers} == {LIVE}
            assert inner.asked == 1

    @pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
    def test_a_failure_is_never_kept(self, tmp_path: Path, outcome: Outcome) -> None:
        with ResponseCache(make_cache(tmp_path)) as cache:
            before = len(cache)
            inner = Counting(refuse(outcome, "failed"))
            tools = self.make(cache, inner)
            assert tools.call(BERGEN).outcome is tools.call(BERGEN).outcome is outcome
            assert inner.asked == 2
            assert len(cache) == before

    def test_a_read_only_cache_is_left_as_it_is(self, tmp_path: Path) -> None:
        make_cache(tmp_path)
        with ResponseCache(tmp_path, read_only=True) as cache:
            tools = self.make(cache, Counting(LIVE))
            assert tools.call(BERGEN) == LIVE
            assert len(cache) == 3


def says(answer: Any) -> Callable[[dict[str, Any]], Reply]:
    return lambda request: {"role": "assistant", "content": answer if isinstance(answer, str) else json.dumps(answer)}


def one_after_another(*replies: Any) -> Callable[[dict[str, Any]], Reply]:
    left = list(replies)
    return lambda request: left.pop(0) if isinstance(left[0], int) else says(left.pop(0))(request)


class TestLlm:
    def test_a_model_plays_the_api(self, tmp_path: Path) -> None:
        with chat_stub(says({"error": "", "response": {"sky": "clear"}})) as stub:
            with ResponseCache(make_cache(tmp_path), read_only=True) as cache:
                answer = ask(LlmResolver(stub.url, "m", "secret", examples=recorded_examples(cache)))
            assert (answer.response, answer.provenance) == ({"sky": "clear"}, Provenance.GENERATED)
            (request,) = stub.requests
            system, user = (message["content"] for message in request["messages"])
            assert (request["model"], request["temperature"]) == ("m", 0)
            assert stub.headers[0]["Authorization"] == "Bearer secret"
            assert "Imagine you are an API Server" in system
            for part in (
                "Weather for everybody.",
                "The forecast for a city.",
                "{'city': 'Oslo'}",
                "API Input:{'city': 'Bergen'}",
            ):
                assert part in user

    def test_mirrorapi_gets_the_messages_that_it_was_trained_on(self) -> None:
        with chat_stub(says('{"error": "", "response": "{"sky": "clear"}"}')) as stub:
            answer = ask(LlmResolver(stub.url, "m", simulator="mirrorapi"))
            assert answer.response == '{"sky": "clear"}'
            system, user = (message["content"] for message in stub.requests[0]["messages"])
            assert system == MIRRORAPI_SYSTEM
            assert user.startswith(
                "API doc:\n{'api_name': 'getforecast', 'api_description': 'The forecast for a city.'"
            )
            assert user.endswith("\n\nRequest:\n{'city': 'Bergen'}")

    @pytest.mark.parametrize("bad", ["", "no JSON", "[]", '{"response": 1}', '{"error": "", "response": ""}', 500, 429])
    def test_an_unusable_answer_is_asked_for_again(self, bad: str | int) -> None:
        with chat_stub(one_after_another(bad, {"error": "", "response": "good"})) as stub:
            assert ask(LlmResolver(stub.url, "m", retries=1)).response == "good"
            assert len(stub.requests) == 2

    def test_retries_are_bounded_and_the_failure_is_typed(self) -> None:
        with chat_stub(says("no JSON")) as stub:
            answer = ask(LlmResolver(stub.url, "m", retries=2))
            assert (answer.outcome, answer.provenance) == (Outcome.UNAVAILABLE, Provenance.SERVICE)
            assert len(stub.requests) == 3

    def test_a_refusal_is_not_asked_again(self) -> None:
        with chat_stub(lambda request: 401) as stub:
            answer = ask(LlmResolver(stub.url, "m", "wrong-key", retries=5))
            assert answer.outcome is Outcome.UNAVAILABLE
            assert "401" in answer.error
            assert "wrong-key" not in answer.error
            assert len(stub.requests) == 1

    def test_a_slow_model_times_out(self) -> None:
        done = Event()

        def stall(request: dict[str, Any]) -> Reply:
            done.wait(10)
            return 500

        with chat_stub(stall) as stub:
            answer = ask(LlmResolver(stub.url, "m", timeout=0.1, retries=0))
            done.set()
        assert answer.outcome is Outcome.TIMEOUT

    def test_an_answer_that_trickles_in_times_out(self) -> None:
        done = Event()

        class Trickling(QuietHandler):
            def post(self, body: bytes) -> None:
                answer = json.dumps({"choices": [{"message": {"content": '{"error": "", "response": 1}'}}]}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                with suppress(OSError):
                    for byte in answer:
                        self.wfile.write(bytes([byte]))
                        done.wait(0.02)

        with running(Trickling) as server:
            url = f"http://127.0.0.1:{server.server_port}/v1"
            answer = ask(LlmResolver(url, "m", timeout=0.3, retries=0))
            done.set()
        assert answer.outcome is Outcome.TIMEOUT

    def test_a_forked_process_leaves_the_connections_to_its_parent(self) -> None:
        """Both ask at the same time; each gets the answers to its own questions."""
        asking = """
import os, sys
from toolserver.resolvers.upstream import Upstream
upstream = Upstream(sys.argv[1], {}, timeout=5, retries=0)
assert upstream.fetch({"n": -1}, lambda answer: answer) == {"n": -1}
child = os.fork()
answers = [upstream.fetch({"n": n}, lambda answer: answer)["n"] for n in range(child > 0, 6, 2)]
child or os._exit(answers != [0, 2, 4])
assert answers == [1, 3, 5] and os.waitpid(child, 0)[1] == 0
"""

        class Echo(QuietHandler):
            protocol_version = "HTTP/1.1"

            def post(self, body: bytes) -> None:
                time.sleep(0.1)
                self.reply(200, body)

        with running(Echo) as server:
            subprocess.run([sys.executable, "-c", asking, f"http://127.0.0.1:{server.server_port}"], check=True)

    def test_a_dead_endpoint_is_unavailable(self) -> None:
        with chat_stub(says("")) as stub:
            url = stub.url
        assert ask(LlmResolver(url, "m", retries=1)).outcome is Outcome.UNAVAILABLE

    def test_an_api_without_documentation_cannot_be_played(self) -> None:
        with chat_stub(says({"error": "", "response": 1})) as stub:
            assert ask(LlmResolver(stub.url, "m"), BERGEN._replace(api="other")).outcome is Outcome.UNKNOWN_API
            assert not stub.requests

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ('```json\n{"error": "", "response": [1]}\n```', ("", [1])),
            ('{"error": "no such city", "response": ""}', ("no such city", "")),
            ('{"error": null, "response": 0}', ("", 0)),
            ('{"error": "", "response": "a "quoted" word"}', ("", 'a "quoted" word')),
            ('{"error": "", "response": 12345678901234567890123}', ("", 12345678901234567890123)),
            ('{"error": "", "response": "half \\ud83d"}', ("", "half \ud83d")),
            ('{"error": "", "response": null}', None),
            ("", None),
            pytest.param('{"error": "", "response": "again"}\n' * 10_000 + '{"error', None, id="repeated and cut"),
            pytest.param('{"error": "", "response": "' + '" ' * 10_000, None, id="many quotes"),
        ],
    )
    def test_how_answers_are_read(self, text: str, answer: tuple[str, Any] | None) -> None:
        assert read_answer(text) == answer


class TestLive:
    def test_a_call_goes_upstream_in_the_protocol_of_the_reference(self) -> None:
        with upstream_stub(lambda request: {"error": "", "response": request["tool_input"]}) as stub:
            answer = ask(LiveResolver(stub.url, "key"))
            assert (answer.response, answer.provenance) == ({"city": "Bergen"}, Provenance.LIVE)
            assert stub.requests == [
                {
                    "category": "Weather",
                    "tool_name": "sky_watch",
                    "api_name": "getforecast",
                    "tool_input": {"city": "Bergen"},
                    "strip": "",
                    "toolbench_key": "key",
                }
            ]
            assert stub.headers[0]["toolbench_key"] == "key"

    def test_an_upstream_failure_is_typed_by_its_error_alone(self) -> None:
        with upstream_stub(lambda request: {"error": "Unauthorized error...", "response": "x"}) as stub:
            assert ask(LiveResolver(stub.url)).outcome is Outcome.UNAUTHORIZED
        with upstream_stub(lambda request: {"error": "", "response": "404 and 500 ways to time out"}) as stub:
            assert ask(LiveResolver(stub.url)).outcome is Outcome.OK

    @pytest.mark.parametrize("answer", [[], {"response": 1}, "text", 503])
    def test_an_upstream_server_of_another_protocol_is_unavailable(self, answer: Any) -> None:
        with upstream_stub(lambda request: answer) as stub:
            assert ask(LiveResolver(stub.url, retries=1)).outcome is Outcome.UNAVAILABLE
            assert len(stub.requests) == 2

    def test_as_many_calls_are_upstream_at_once_as_there_are_threads(self) -> None:
        together = Barrier(120, timeout=60)

        def answer(request: dict[str, Any]) -> Any:
            together.wait()  # for all the others
            return {"error": "", "response": request["tool_input"]}

        with upstream_stub(answer) as stub, ThreadPoolExecutor(120) as pool:
            resolver = LiveResolver(stub.url, retries=0, timeout=90)
            answers = pool.map(lambda number: ask(resolver, OSLO._replace(arguments={"n": number})), range(120))
            assert [answer.response for answer in answers] == [{"n": number} for number in range(120)]

    @pytest.mark.parametrize("charset", ["zlib_codec", "rot13", "utf-16", "undefined"])
    def test_an_answer_is_read_as_json_whatever_charset_its_header_names(self, charset: str) -> None:
        with raw_upstream(b'{"error": "", "response": "gr\xc3\xa5"}', charset=charset) as url:
            assert ask(LiveResolver(url)).response == "grå"
        with raw_upstream(b"[" * 100_000, charset=charset) as url:
            assert ask(LiveResolver(url, retries=0)).outcome is Outcome.UNAVAILABLE

    def test_an_answer_that_unpacks_to_more_than_the_limit_is_unusable(self) -> None:
        text = b'{"error": "", "response": "%s"}' % (b"a" * 2**24)
        with raw_upstream(gzip.compress(text, 1), **{"content-encoding": "gzip"}) as url:
            answer = ask(LiveResolver(url, retries=0))
            assert (answer.outcome, answer.provenance) == (Outcome.UNAVAILABLE, Provenance.SERVICE)
            assert "more than 16,777,216 bytes" in answer.error


@contextmanager
def raw_upstream(content: bytes, charset: str = "", **headers: str) -> Iterator[str]:
    """An upstream server that answers with these bytes, under these headers."""
    if charset:
        headers["content-type"] = f"application/json; charset={charset}"

    class Handler(QuietHandler):
        def post(self, body: bytes) -> None:
            with suppress(OSError):  # the client has read enough
                self.reply(200, content, headers)

    with running(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}/rapidapi"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("", Outcome.OK),
        ("Unauthorized error...", Outcome.UNAUTHORIZED),
        ("Unsubscribed error...", Outcome.FORBIDDEN),
        ("Too many requests error...", Outcome.QUOTA_EXCEEDED),
        ("Rate limit per minute error...", Outcome.RATE_LIMITED),
        ("API not working error...", Outcome.UNAVAILABLE),
        ("Tool input parse error...\n", Outcome.INVALID_ARGUMENTS),
        ("f() got an unexpected keyword argument 'x'", Outcome.INVALID_ARGUMENTS),
        ("Message error...", Outcome.NOT_FOUND),
        ("something new", Outcome.FAILED),
    ],
)
def test_error_texts_have_outcomes(error: str, outcome: Outcome) -> None:
    assert outcome_of_error(error) is outcome
