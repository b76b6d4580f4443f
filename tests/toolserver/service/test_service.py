"""The service validates, asks its resolvers in order, and never raises for what a caller wrote."""

import json
from collections.abc import Callable
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolserver.apis import APIS, WEATHER
from toolserver.calls.call_key import canonical_key
from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.resolvers.base import PARSE_ERROR, Resolver, ValidatedCall
from toolserver.service.service import ToolService

CALL = ToolCall("Weather", "Sky Watch", "getForecast", {"city": "Oslo"})


class Scripted:
    """Answers by a function, and keeps the calls that it saw."""

    def __init__(self, answer: Callable[[ValidatedCall], ToolResponse | None], blocking: bool = False) -> None:
        self.answer = answer
        self.blocking = blocking
        self.needs_key = True
        self.calls: list[ValidatedCall] = []
        self.closed = False

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        self.calls.append(call)
        return self.answer(call)

    def close(self) -> None:
        self.closed = True


def saying(text: str, blocking: bool = False) -> Scripted:
    return Scripted(lambda call: ToolResponse(encode_body("", text)), blocking)


def silent() -> Scripted:
    return Scripted(lambda call: None)


def service(*resolvers: Resolver, **options: Any) -> ToolService:
    return ToolService(Catalog(APIS), resolvers, **options)


def test_the_first_resolver_with_an_answer_counts() -> None:
    first, second, third = silent(), saying("second"), saying("third")
    assert service(first, second, third).call(CALL).response == "second"
    assert (len(first.calls), len(second.calls), len(third.calls)) == (1, 1, 0)


def test_a_resolver_sees_standardised_names_and_parsed_arguments() -> None:
    resolver = saying("")
    tools = service(resolver)
    tools.call(ToolCall("Weather", "Sky Watch", "getForecast_for_sky_watch", '{"city": "Oslo"}'))
    tools.call(CALL)
    assert resolver.calls[0] == resolver.calls[1]
    assert resolver.calls[0][:4] == (*WEATHER.key, {"city": "Oslo"})
    assert resolver.calls[0].spec is WEATHER


def test_no_answer_is_not_recorded_for_known_and_unknown_for_other_apis() -> None:
    tools = service(silent())
    assert tools.call(CALL)[1:3] == (Outcome.NOT_RECORDED, Provenance.SERVICE)
    unknown = tools.call(CALL._replace(api="getWeather"))
    assert unknown.outcome is Outcome.UNKNOWN_API
    assert "getweather" in unknown.error


def test_an_api_without_documentation_may_have_an_answer() -> None:
    assert service(saying("found")).call(CALL._replace(tool="nobody")).response == "found"


@pytest.mark.parametrize("text", ["{", "5", "[]", "null", '"{}"', " ", "{'a': 1}", '{"a": 1} {"b": 2}', "[" * 100_000])
def test_text_that_is_no_object_is_refused_in_the_words_of_the_reference(text: str) -> None:
    resolver = saying("")
    answer = service(resolver).call(CALL._replace(arguments=text))
    assert answer.outcome is Outcome.INVALID_ARGUMENTS
    assert answer.body == encode_body(PARSE_ERROR, "")
    assert not resolver.calls


@pytest.mark.parametrize("length", [10, 2000])
@pytest.mark.parametrize("padding", [0, 2000])
def test_what_is_remembered_of_a_call_changes_no_answer(length: int, padding: int) -> None:
    resolver = saying("found")
    asked = service(resolver)
    name, arguments = "n" * length, {"text": "x" * padding}
    for passed in (arguments, json.dumps(arguments), arguments, json.dumps(arguments)):
        assert asked.call(ToolCall("Weather", "Sky Watch", name, passed)).response == "found"
        assert asked.call(CALL).response == "found"
    assert {call.key for call in resolver.calls[::2]} == {canonical_key("Weather", "Sky Watch", name, arguments)}
    assert {call.key for call in resolver.calls[1::2]} == {canonical_key(*CALL[:3], {"city": "Oslo"})}
    assert all(call.spec == WEATHER for call in resolver.calls[1::2])


def test_empty_text_means_no_arguments() -> None:
    resolver = saying("")
    service(resolver).call(CALL._replace(arguments=""))
    assert resolver.calls[0].arguments == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 123456789012345678901234567890}', 123456789012345678901234567890),
        ('{"a": [{"b": 18446744073709551616}]}', [{"b": 18446744073709551616}]),
        ('{"a": "\\ud800"}', "\ud800"),
        ('{"a": 1e3}', 1000.0),
    ],
)
def test_arguments_arrive_as_python_reads_them(text: str, value: Any) -> None:
    resolver = saying("")
    service(resolver).call(CALL._replace(arguments=text))
    assert resolver.calls[0].arguments == {"a": value}
    assert type(resolver.calls[0].arguments["a"]) is type(value)


def test_nesting_is_limited() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels > 1 else {}

    tools = service(saying("fine"), max_depth=4)
    assert tools.call(CALL._replace(arguments=nested(4))).response == "fine"
    too_deep = tools.call(CALL._replace(arguments=nested(5)))
    assert too_deep.outcome is Outcome.INVALID_ARGUMENTS
    assert "4 levels" in too_deep.error


@pytest.mark.parametrize("needs_key", [True, False])
def test_what_is_no_json_is_refused_in_process_too(needs_key: bool) -> None:
    for arguments in ({1: "a"}, {"a": object()}, {"a": {1, 2}}, {"a": b"bytes"}):
        resolver = saying("")
        resolver.needs_key = needs_key
        answer = service(resolver).call(CALL._replace(arguments=arguments))  # type: ignore[arg-type]
        assert answer.outcome is Outcome.INVALID_ARGUMENTS


def test_chat_with_user_is_answered_before_its_arguments_are_read() -> None:
    answer = service().call(CALL._replace(api="chat_with_user", arguments="no JSON"))
    assert answer.body == encode_body("", "Chat with user.")
    assert answer.outcome is Outcome.OK


def test_arguments_are_checked_only_when_strict() -> None:
    wrong = CALL._replace(arguments={"town": "Oslo"})
    assert service(saying("lax")).call(wrong).response == "lax"
    refused = service(saying("strict"), strict_arguments=True).call(wrong)
    assert refused.outcome is Outcome.INVALID_ARGUMENTS
    assert "city" in refused.error


def test_a_state_token_comes_back_whatever_happens() -> None:
    tools = service(silent())
    for call in (
        CALL,
        CALL._replace(api="unknown"),
        CALL._replace(arguments="bad"),
        CALL._replace(api="chat_with_user"),
    ):
        assert tools.call(call._replace(state="token")).state == "token"
        assert tools.call(call).state == ""


def test_an_episode_is_advanced_once_per_call() -> None:
    tools = service(saying("fine"))
    state: EpisodeState | str = EpisodeState(seed=3, task="t")
    for step in range(1, 4):
        answer = tools.call(CALL._replace(state=state))
        assert answer.response == "fine"
        assert isinstance(answer.state, EpisodeState)
        assert answer.state.step == step
        state = answer.state


def test_arguments_that_the_caller_parsed_are_not_parsed_again() -> None:
    resolver = saying("fine")
    service(resolver).call(CALL._replace(arguments="not JSON", parsed={"city": "Oslo"}))
    assert [call.arguments for call in resolver.calls] == [{"city": "Oslo"}]


def test_a_blocking_resolver_is_left_for_later() -> None:
    fast, slow = silent(), saying("slow", blocking=True)
    pending = service(slow, fast).start(CALL)
    assert not isinstance(pending, ToolResponse)
    assert (len(fast.calls), len(slow.calls)) == (1, 0)
    assert pending().response == "slow"
    assert (len(fast.calls), len(slow.calls)) == (1, 1)


def test_many_calls_keep_their_order_and_wait_together() -> None:
    together = Barrier(3, timeout=10)

    def answer(call: ValidatedCall) -> ToolResponse:
        together.wait()  # passes only when all three are asked at the same time
        return ToolResponse(encode_body("", call.arguments["n"]))

    fast = Scripted(lambda call: ToolResponse(encode_body("", "now")) if call.arguments["n"] % 2 else None)
    calls = [CALL._replace(arguments={"n": number}) for number in range(6)]
    answers = service(fast, Scripted(answer, blocking=True)).call_many(calls)
    assert [answer.response for answer in answers] == [0, "now", 2, "now", 4, "now"]


def test_closing_closes_the_resolvers() -> None:
    resolvers = silent(), saying("", blocking=True)
    service(*resolvers).close()
    assert all(resolver.closed for resolver in resolvers)


JSON_TEXT = st.text() | st.builds(
    lambda body: f'{{"city": {body}}}',
    st.sampled_from(["NaN", "-Infinity", "1e999", "[[[]]]", "{}", '"\\udfff"', "00"]),
)


@given(st.text(), st.text(), st.text(), JSON_TEXT, st.text())
def test_any_text_gets_a_typed_outcome(category: str, tool: str, api: str, arguments: str, state: str) -> None:
    tools = service(silent(), strict_arguments=True)
    for call in (ToolCall(category, tool, api, arguments, state), CALL._replace(arguments=arguments, state=state)):
        assert tools.call(call).outcome is not Outcome.OK or "chat_with_user" in api
