"""The judging model, against an endpoint on a real socket."""

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from steptool_env.errors import ChatError, ChatUnreachableError, ConfigurationError
from steptool_env.judges import make_judge
from steptool_env.rewards import make_reward
from steptool_env.trajectories.converted import converted_answer
from tests.server_stub import calling, chat_stub
from tests.steptool_env.sample_episodes import QUERY, answered, called, gave_up, task

STEPS = (called("search", ["tt-93421"], studio="Aurora"), called("details", {"by": "Maren Okafor"}), answered("Maren."))
FUNCTION = "evaluate_process_reward"


def opinion(succeeded: list[Any], contributed: list[Any], status: str = "Solved") -> dict[str, Any]:
    fields = {"succeed_tool_calling": succeeded, "contribution_to_final_answer": contributed}
    return calling(FUNCTION, **fields, final_answer_status=status)


def test_repeats_are_averaged_and_kept() -> None:
    replies = iter([opinion([1, 0], [5, 0]), opinion([1, 1], [4, 1], "Unsure")])
    with chat_stub(lambda _: next(replies)) as stub:
        judged = make_judge("llm", model="m", base_url=stub.url, repeats=2).judge(task(), STEPS)
    assert judged.succ_calling == (1.0, 0.5, 0.0)
    assert judged.contribution == pytest.approx((0.9, 0.1, 0.0))
    assert sorted(judged.is_solved) == [0.5, 1.0]


def test_the_model_sees_query_steps_and_answer_and_must_call_the_function() -> None:
    with chat_stub(lambda _: opinion([1, 1], [5, 5])) as stub:
        make_judge("llm", model="m", base_url=stub.url, api_key="secret", repeats=1).judge(task(), STEPS)
    (request,) = stub.requests
    prompt = request["messages"][0]["content"]
    assert QUERY in prompt
    assert "Step 1: {'name': 'search'" in prompt
    assert "Step 2: {'name': 'details'" in prompt
    assert "Step 3" not in prompt
    assert "Final Answer:\nMaren." in prompt
    assert request["tool_choice"]["function"]["name"] == FUNCTION
    assert request["temperature"] == 0
    assert stub.headers[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "useless",
    [
        opinion([1], [5]),
        opinion([1, 1], [5, 9]),
        opinion([1, "yes"], [5, 5]),
        opinion([1, 1], [5, 5], "Perhaps"),
        calling("another_function"),
        {"role": "assistant", "content": "Solved."},
        {"role": "assistant", "tool_calls": [{"function": {"name": FUNCTION, "arguments": "{broken"}}]},
    ],
)
def test_an_answer_that_does_not_fit_is_asked_for_again(
    useless: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    replies = iter([useless, opinion([1, 1], [5, 5])])
    with chat_stub(lambda _: next(replies)) as stub:
        judged = make_judge("llm", model="m", base_url=stub.url, repeats=1).judge(task(), STEPS)
    assert judged.is_solved == (1.0,)
    assert len(stub.requests) == 2


def test_a_model_that_cannot_be_asked_is_an_error_that_keeps_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with chat_stub(lambda _: 503) as stub:
        judge = make_judge("llm", model="m", base_url=stub.url, api_key="secret", repeats=1, retries=2)
        with pytest.raises(ChatError, match="HTTP 503") as caught:
            judge.judge(task(), STEPS)
    assert len(stub.requests) == 3
    assert "secret" not in str(caught.value)


def test_giving_up_is_unsolved_whatever_the_model_says() -> None:
    with chat_stub(lambda _: opinion([1], [5], "Solved")) as stub:
        judged = make_judge("llm", model="m", base_url=stub.url, repeats=1).judge(task(), (STEPS[0], gave_up()))
    assert judged.solved == 0.0
    assert judged.succ_calling == (1.0, 0.0)


def test_tooleval_looks_at_the_course_only_in_doubt() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        function = request["tool_choice"]["function"]["name"]
        if function == FUNCTION:
            return opinion([1, 1], [5, 5], "Unsolved")
        return calling(function, answer_status="Unsure" if function == "check_answer_status" else "Solved")

    with chat_stub(reply) as stub:
        judged = make_judge("llm", model="m", base_url=stub.url, repeats=1, verdict="tooleval").judge(task(), STEPS)
    asked = [request["tool_choice"]["function"]["name"] for request in stub.requests]
    assert asked == [FUNCTION, "check_answer_status", "parse_answer_status"]
    assert judged.solved == 1.0


def test_tooleval_is_asked_what_its_evaluator_asks() -> None:
    """The arguments of `Finish`, in doubt the whole converted answer with its `tool` nodes uncut; each for a reason."""
    steps = (called("search", "tt-93421 " * 200), STEPS[-1])
    replies = iter(["Unsure", "Solved"])
    with chat_stub(lambda r: calling(r["tool_choice"]["function"]["name"], answer_status=next(replies))) as stub:
        judge = make_judge("llm", model="m", base_url=stub.url, repeats=1, verdict="tooleval", steps=False)
        assert judge.judge(task(), steps).solved == 1.0
    shown = [r["messages"][0]["content"].partition("\nAnswer:\n")[2].partition("\n\nNow ")[0] for r in stub.requests]
    assert shown == [STEPS[-1].action.arguments, json.dumps(converted_answer(steps))]
    for request in stub.requests:
        assert request["tools"][0]["function"]["parameters"]["required"] == ["answer_status", "reason"]


def test_another_prompt_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("{query}|{mid_steps}|{final_answer}|{other}")
    with chat_stub(lambda _: opinion([1, 1], [5, 5])) as stub:
        make_judge("llm", model="m", base_url=stub.url, repeats=1, template=str(path)).judge(task(), STEPS)
    prompt = stub.requests[0]["messages"][0]["content"]
    assert prompt.startswith(f"{QUERY}|Step 1: ")
    assert prompt.endswith("|Maren.|{other}")


def test_braces_in_values_are_no_places() -> None:
    odd = answered("{query} and {mid_steps}")
    with chat_stub(lambda _: opinion([1], [5])) as stub:
        make_judge("llm", model="m", base_url=stub.url, repeats=1).judge(task(), (STEPS[0], odd))
    assert "{query} and {mid_steps}" in stub.requests[0]["messages"][0]["content"]


def test_an_answer_with_half_a_character_is_judged() -> None:
    odd = answered("Maren \ud83d")  # as a model's JSON may say it
    with chat_stub(lambda _: opinion([1], [5])) as stub:
        judged = make_judge("llm", model="m", base_url=stub.url, repeats=1).judge(task(), (STEPS[0], odd))
    assert judged.solved == 1.0
    assert "Maren \\ud83d" in stub.requests[0]["messages"][0]["content"]


def test_a_reward_pays_in_hindsight_what_the_model_says() -> None:
    with chat_stub(lambda _: opinion([1, 0], [5, 0])) as stub:
        reward = make_reward("steptool", judge="llm", model="m", base_url=stub.url, repeats=1)
        scorer = reward.start(task())
        given = [scorer.score(step).reward for step in STEPS]
        hindsight = scorer.hindsight()
        assert len(stub.requests) == 1
    assert given == [0.0, 0.0, 1.0]
    assert hindsight is not None
    assert [step.reward for step in hindsight] == [1.0, 0.0, 1.0]


def test_a_dead_endpoint_is_reported_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    judge = make_judge("llm", model="m", base_url=f"http://127.0.0.1:{port}", repeats=3, retries=9)
    start = time.monotonic()
    with pytest.raises(ChatUnreachableError, match=f"no chat model answers at http://127.0.0.1:{port}"):
        judge.judge(task(), STEPS)
    assert time.monotonic() - start < 10


def test_an_endpoint_that_accepts_no_connection_is_reported_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steptool_env.chat._CONNECT_SECONDS", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        with socket.create_connection(address), ExitStack() as waiting:
            for _ in range(3):  # the queue is full: further connections time out
                connection = waiting.enter_context(socket.socket())
                connection.setblocking(False)
                connection.connect_ex(address)
            judge = make_judge("llm", model="m", base_url=f"http://127.0.0.1:{address[1]}", repeats=1, retries=9)
            start = time.monotonic()
            with pytest.raises(ChatUnreachableError):
                judge.judge(task(), STEPS)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "name of the chat model"),
        ({"model": "m", "repeats": 0}, "repeats=0"),
        ({"model": "m", "verdict": "oracle"}, "verdict='oracle'"),
        ({"model": "m", "template": "/nowhere"}, "template='/nowhere'"),
        ({}, "model"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_judge("llm", **options)
