"""A policy server whose clients leave and whose model fails; the end of episodes."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from agents.gateway.chat import OnTokens
from agents.gateway.conversations import Prompt
from agents.gateway.decoder import Generation
from agents.gateway.episode import OVER, Event, HarnessEpisode, StepRequest, TurnRequest
from agents.gateway.gateway import Gateway
from agents.gateway.harness import HarnessTask
from agents.gateway.models import ServedModel
from agents.gateway.protocol import ApiError, ChatRequest
from agents.models.chat_template import Codec
from agents.rollout.types import Sampled
from steptool_env.episodes.episode import Transition
from steptool_env.types import FINISH
from tests.agents.gateway.serving import chat_bundle, served, serving, until
from tests.agents.gateway.test_text_stream import Counting
from tests.agents.gateway.tool_bandit import make_bandit
from tests.steptool_env.toy_turns import DONE, FIRST, LAST, make_turns

HELLO = {"role": "user", "content": "You can call functions."}
LONG = 450


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return served(chat_bundle())


@pytest.fixture(scope="module")
def url(model: ServedModel) -> Iterator[str]:
    with serving(model) as found:
        yield f"{found}/v1/chat/completions"


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [HELLO], "max_tokens": 12, "seed": 1, **fields}


def texts(url: str, **fields: Any) -> list[str]:
    answer = httpx.post(url, json=asked(**fields), timeout=60)
    assert answer.status_code == 200, answer.text
    return [choice["message"]["content"] for choice in answer.json()["choices"]]


def idle(model: ServedModel) -> bool:
    samplers = list(model.decoder._samplers.values())
    return not model.decoder.busy and all(each._slots.keys() == each._prefixes._idle.keys() for each in samplers)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_answers_and_frees_their_slots(
    url: str, model: ServedModel, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All choices of the request; others go on, and so do later requests."""
    wanted = texts(url, max_tokens=40)
    begun: list[Generation] = []
    gate = threading.Event()
    submit = model.decoder.submit

    def noted(generation: Generation) -> Any:
        begun.append(generation)
        return submit(generation)

    monkeypatch.setattr(model.decoder, "submit", noted)

    def hold(*_: Any) -> None:
        gate.wait(60)

    hook = chat_bundle().policy.output_layer.register_forward_pre_hook(hold)
    try:
        address = urlsplit(url)
        client = HTTPConnection(str(address.hostname), address.port)
        body = json.dumps(asked(max_tokens=LONG, n=3, seed=7, stream=stream))
        client.request("POST", address.path, body, {"content-type": "application/json"})
        until(lambda: len(begun) == 3)
        left = list(begun)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(texts, url, max_tokens=40)
            until(lambda: len(begun) == 4)
            client.close()
            until(lambda: all(generation.future.cancelled() for generation in left))
            gate.set()
            assert other.result() == wanted
    finally:
        gate.set()
        hook.remove()
    until(lambda: idle(model))
    assert texts(url, max_tokens=40) == wanted


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": 3000 * "["}}
TOOL = {"type": "function", "function": {"name": "f", "description": "\udc00"}}
DEEP = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "a", "content": "y"},
]


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"messages": [{"role": "user", "content": "a \ud800 b"}]}, 400, "lone surrogate '\\ud800'"),
        ({"tools": [TOOL]}, 400, "lone surrogate '\\udc00'"),
        ({"messages": DEEP}, 400, "leaves no room for an action"),
        ({"messages": [{"role": "user", "content": "\0 \ud83d\ude00"}]}, 200, ""),  # a pair is a character
    ],
)
def test_odd_texts_are_answered_or_refused(url: str, changed: dict[str, Any], status: int, says: str) -> None:
    body = json.dumps(asked(max_tokens=2) | changed)
    answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=60)
    assert answer.status_code == status
    assert says in (answer.json()["error"]["message"] if status == 400 else "")


def test_an_error_in_a_stream_is_an_event_and_ends_it(url: str, model: ServedModel) -> None:
    wanted = texts(url)
    release = threading.Event()

    def broken(*_: Any) -> None:
        if release.is_set():
            raise RuntimeError("out of memory")

    hook = chat_bundle().policy.output_layer.register_forward_pre_hook(broken)
    try:
        with httpx.stream("POST", url, json=asked(max_tokens=LONG, stream=True), timeout=60) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            events = [next(lines)]
            release.set()
            events += [line for line in lines if line]
    finally:
        hook.remove()
    *chunks, last = (json.loads(line.removeprefix("data: ")) for line in events if line)
    assert last["error"]["message"] == "RuntimeError: out of memory"
    assert all("choices" in chunk for chunk in chunks)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    assert httpx.post(url, json=asked(messages=[{"role": "user", "content": "x"}] * 400)).status_code == 400
    assert texts(url) == wanted


def test_a_stream_decodes_each_token_a_bounded_number_of_times() -> None:
    made = chat_bundle()
    counting = Counting(made.codec)
    served_model = served(made)
    served_model.conversations.codec = counting
    with serving(served_model) as url:
        fields = asked(max_tokens=LONG, stream=True, stop=["never written"])
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=fields, timeout=60) as answer:
            events = [line for line in answer.iter_lines() if line]
    assert len(events) > LONG // 4
    assert counting.decoded < 20 * LONG


def test_the_choices_of_a_seed_are_the_same_again_and_differ_from_each_other(url: str) -> None:
    """Choice by choice, whatever their number; without a seed, all differ."""
    five = texts(url, n=5, seed=3)
    assert texts(url, n=5, seed=3) == five
    assert texts(url, n=2, seed=3) == five[:2]
    assert texts(url, n=1, seed=3) == five[:1]
    others = texts(url, n=5, seed=4)
    free = [*texts(url, n=3, seed=None), *texts(url, n=3, seed=None)]
    assert len({*five, *others, *free}) == 16
    assert texts(url, n=3, seed=3, temperature=0) == texts(url, n=3, seed=9, temperature=0)


# Episodes


def episode(post: Callable[[Event], None] = lambda _: None, codec: Any = None) -> HarnessEpisode:
    env = make_bandit()
    return HarnessEpisode(*env.reset(seed=0), codec or chat_bundle().codec, 512, post)


def begin(found: HarnessEpisode, on_tokens: OnTokens | None = None) -> tuple[Prompt, TurnRequest]:
    request = ChatRequest.model_validate({"model": "m", "messages": [HELLO]})
    prompt = found.conversations.prompt(request.messages, request.functions)
    return prompt, found.begin(prompt, request, 0, on_tokens)


SAID = Sampled([5, 6], [-1.0, -1.0], stopped=False)


def test_a_closed_episode_takes_no_chat_and_records_no_turn() -> None:
    events: list[Event] = []
    found = episode(events.append)
    prompt, waiting = begin(found)
    late, _ = begin(found)
    assert len(events) == 2
    found.record(prompt, SAID, "So.", 0)
    assert [turn.number for turn in found.turns] == [0]
    found.close()
    found.record(late, SAID, "So.", 0)
    assert [turn.number for turn in found.turns] == [0]
    with pytest.raises(ApiError, match="the episode has ended") as refused:
        begin(found)
    assert refused.value.status == 410
    assert len(events) == 2
    assert found.call("find_city", "{}") is None
    assert found.step("So.") is None
    waiting.refuse()
    with pytest.raises(ApiError, match="the episode has ended"):
        waiting.future.result(0)
    waiting.refuse()  # once is enough, and an answer that came before stays
    answered = TurnRequest(found, [1])
    answered.future.set_result(SAID)
    answered.refuse()
    assert answered.future.result(0) is SAID


def test_after_the_last_step_a_chat_gets_a_notice_and_is_no_turn() -> None:
    events: list[Event] = []
    found = episode(events.append)
    prompt, _ = begin(found)
    found.record(prompt, SAID, "So.", 0)
    found.transition = Transition("", 0.0, True, False, {})
    assert found.over
    prompt, request = begin(found)
    sampled = request.future.result(0)
    turn = found.record(prompt, sampled, "", 0)
    assert (turn.message.content, turn.message.tool_calls) == (OVER, [])
    assert len(found.turns) == len(events) == 1
    assert found.step("So.") is None


def test_a_call_whose_arguments_nest_too_deep_is_a_step() -> None:
    steps: list[StepRequest] = []

    def post(event: Event) -> None:
        if isinstance(event, StepRequest):
            steps.append(event)
            event.future.set_result(None)

    found = episode(post)
    prompt, _ = begin(found)
    found.record(prompt, SAID, "Action: f\nAction Input: {}", 0)
    found.call("f", 100_000 * "[")
    assert [(step.action, step.turn) for step in steps] == [(f"Action: f\nAction Input: {100_000 * '['}", 0)]


class _Slow:
    """Codec that waits for an event before it encodes a chat."""

    def __init__(self, codec: Codec) -> None:
        self._codec, self.entered, self.go_on = codec, threading.Event(), threading.Event()
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def encode_chat(self, *arguments: Any) -> list[int]:
        self.entered.set()
        assert self.go_on.wait(60)
        self.done.append("encoded")
        return self._codec.encode_chat(*arguments)


def test_an_episode_is_settled_when_nothing_reads_it_any_more() -> None:
    """No two threads may use a codec at a time: after `settle` it is the caller's."""
    codec = _Slow(chat_bundle().codec)
    found = episode(codec=codec)
    with closing(Gateway("tests.agents.gateway.harnesses:react", 60.0)) as gateway, ThreadPoolExecutor(1) as pool:
        task: HarnessTask = gateway.open(found)
        chat = pool.submit(httpx.post, f"{task.base_url}/chat/completions", json=asked(), timeout=60)
        assert codec.entered.wait(60)
        gateway.close_episode(found)
        threading.Timer(0.3, codec.go_on.set).start()
        gateway.settle()
        assert codec.done == ["encoded"]
        answer = chat.result()
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "episode_ended")


def test_the_functions_of_a_later_turn_are_offered_from_its_start() -> None:
    env = make_turns()

    def step(event: StepRequest) -> None:
        transition = env.step(event.action)
        found.apply(event, transition)
        event.future.set_result(transition)

    def post(event: Event) -> None:
        assert isinstance(event, StepRequest)
        threading.Thread(target=step, args=(event,)).start()  # the episode is locked while it posts

    found = HarnessEpisode(*env.reset(seed=0), chat_bundle().codec, 512, post)
    task = HarnessTask(found, "http://127.0.0.1", "key")
    for offered in (FIRST, FIRST, LAST):
        assert [function["name"] for function in found.functions] == offered  # what its MCP server lists
        assert [tool["function"]["name"] for tool in task.tools] == offered
        task.call(FINISH, DONE)
    assert task.done
