"""Chat completions of a served policy: what a client gets, and the tokens of which it is made."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from agents.gateway.conversations import Conversations
from agents.gateway.models import ServedModel
from agents.gateway.protocol import Message
from agents.models.bundle import PolicyBundle
from agents.rollout.types import Sampled
from steptool_env.formats import make_format
from tests.agents.gateway.serving import chat_bundle, served, serving

FIND = {"type": "function", "function": {"name": "find_city", "parameters": {"type": "object", "properties": {}}}}
FUNCTIONS = [{**FIND["function"], "description": ""}]  # type: ignore[dict-item]
HELLO = {"role": "user", "content": "You can call functions."}


def part(content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [content]}


IMAGE = part({"type": "image_url", "image_url": {"url": "data:"}})


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return served(chat_bundle())


@pytest.fixture(scope="module")
def url(model: ServedModel) -> Iterator[str]:
    with serving(model) as found:
        yield found


def ask(url: str, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"model": "chat", "messages": list(messages) or [HELLO], "max_tokens": 12, "seed": 1, **fields}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def streamed(url: str, *messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    body = {
        "model": "chat",
        "messages": list(messages) or [HELLO],
        "max_tokens": 12,
        "seed": 1,
        "stream": True,
        **fields,
    }
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def refused(url: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "chat", "messages": [HELLO], **fields}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code in (400, 404), answer.text
    return dict(answer.json()["error"])


def scores(bundle: PolicyBundle, prompt: list[int], ids: list[int], temperature: float = 1.0) -> list[float]:
    """Log-probabilities of tokens after a prompt, by one pass of the whole model."""
    with torch.no_grad():
        logits = bundle.policy.language_model(torch.tensor([prompt + ids])).logits[0] / temperature
    log_probs = logits.log_softmax(-1)
    return [float(log_probs[len(prompt) - 1 + n, token]) for n, token in enumerate(ids)]


def test_an_answer_is_the_models_tokens_with_their_log_probabilities(url: str) -> None:
    bundle = chat_bundle()
    answer = ask(url, logprobs=True, return_token_ids=True)
    (choice,) = answer["choices"]
    assert answer["prompt_token_ids"] == bundle.codec.encode_chat([HELLO])
    assert choice["message"]["content"] == bundle.codec.decode_action(choice["token_ids"])
    entries = choice["logprobs"]["content"]
    want = scores(bundle, answer["prompt_token_ids"], choice["token_ids"])
    assert [entry["logprob"] for entry in entries] == pytest.approx(want, abs=1e-5)
    usage = answer["usage"]
    assert usage["prompt_tokens"] == len(answer["prompt_token_ids"])
    assert usage["completion_tokens"] == len(choice["token_ids"]) == 12
    assert choice["finish_reason"] == "length"


def test_temperature_0_takes_the_most_probable_token(url: str) -> None:
    bundle = chat_bundle()
    answer = ask(url, temperature=0, return_token_ids=True)
    ids = answer["prompt_token_ids"]
    with torch.no_grad():
        for token in answer["choices"][0]["token_ids"]:
            assert token == int(bundle.policy.language_model(torch.tensor([ids])).logits[0, -1].argmax())
            ids = [*ids, token]


def test_log_probabilities_are_those_of_the_temperature(url: str) -> None:
    answer = ask(url, temperature=0.5, logprobs=True, return_token_ids=True)
    (choice,) = answer["choices"]
    want = scores(chat_bundle(), answer["prompt_token_ids"], choice["token_ids"], 0.5)
    assert [entry["logprob"] for entry in choice["logprobs"]["content"]] == pytest.approx(want, abs=1e-5)


def test_top_p_draws_from_the_nucleus_alone(url: str) -> None:
    bundle = chat_bundle()
    prompt = bundle.codec.encode_chat([HELLO])
    with torch.no_grad():
        probabilities = bundle.policy.language_model(torch.tensor([prompt])).logits[0, -1].softmax(-1).numpy()
    order = np.argsort(-probabilities)
    size = int(np.searchsorted(np.cumsum(probabilities[order]), 0.2)) + 1
    drawn = {
        choice["token_ids"][0]
        for seed in range(4)
        for choice in ask(url, top_p=0.2, max_tokens=1, n=16, seed=seed, return_token_ids=True)["choices"]
    }
    assert len(drawn) > 1
    assert drawn <= set(order[:size].tolist())


def test_several_choices_differ_and_cost_their_tokens(url: str) -> None:
    answer = ask(url, n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 36
    assert answer["choices"][0] == ask(url)["choices"][0]


def test_a_stop_text_ends_the_answer_before_it(url: str) -> None:
    whole = ask(url, max_tokens=40)["choices"][0]["message"]["content"]
    stop = whole[5:7]
    (choice,) = ask(url, max_tokens=40, stop=[stop], return_token_ids=True)["choices"]
    assert choice["message"]["content"] == whole[: whole.index(stop)]
    assert choice["finish_reason"] == "stop"
    shown = "".join(
        chunk["choices"][0]["delta"].get("content") or "" for chunk in streamed(url, max_tokens=40, stop=[stop])
    )
    assert shown == choice["message"]["content"]


def test_a_stream_is_the_same_answer_in_parts(url: str) -> None:
    fields: dict[str, Any] = {"max_tokens": 30, "logprobs": True, "return_token_ids": True}
    whole = ask(url, **fields)
    chunks = streamed(url, **fields, stream_options={"include_usage": True})
    usage = chunks.pop()
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 30
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert choices[-1]["finish_reason"] == "length"
    assert (
        "".join(choice["delta"].get("content") or "" for choice in choices) == whole["choices"][0]["message"]["content"]
    )
    assert sum(bool(choice["delta"].get("content")) for choice in choices) > 3
    assert [i for choice in choices for i in choice.get("token_ids", ())] == whole["choices"][0]["token_ids"]
    entries = [entry for choice in choices for entry in (choice["logprobs"] or {"content": []})["content"]]
    assert entries == whole["choices"][0]["logprobs"]["content"]


def test_a_conversation_extends_its_tokens_and_keeps_its_prefix(url: str) -> None:
    """The model's own tokens stay as it drew them, where encoding its text again gives others."""
    bundle = chat_bundle()
    first = ask(url, max_tokens=20, return_token_ids=True)
    said = first["choices"][0]["message"]
    more = [{"role": "user", "content": "Go on."}]
    second = ask(url, HELLO, said, *more, return_token_ids=True)
    before = first["prompt_token_ids"] + first["choices"][0]["token_ids"]
    assert second["prompt_token_ids"][: len(before)] == before
    rest = second["prompt_token_ids"][len(before) :]
    assert rest == [bundle.codec.stop_id, *bundle.codec.encode_messages(more)]
    assert second["prompt_token_ids"] != bundle.codec.encode_chat([HELLO, said, *more])
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == len(before)
    want = scores(bundle, second["prompt_token_ids"], second["choices"][0]["token_ids"])
    entries = ask(url, HELLO, said, *more, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert [entry["logprob"] for entry in entries] == pytest.approx(want, abs=1e-5)


def test_several_messages_between_two_answers_are_rendered_by_the_template() -> None:
    bundle = chat_bundle()
    more = [{"role": "user", "content": "Go on."}, {"role": "tool", "content": "<|im_end|>"}, HELLO]
    whole = bundle.codec.encode_chat([HELLO, {"role": "assistant", "content": "So."}, *more])
    pieces = [*bundle.codec.encode_chat([HELLO]), *bundle.codec.encode_action("So.")]
    ids = bundle.codec.encode_messages(more)
    assert bundle.tokenizer.decode([*pieces, *ids]) == bundle.tokenizer.decode(whole)
    assert ids.count(bundle.codec.stop_id) == len(more)  # the spelling of a special token is text


def test_a_rewritten_history_is_encoded_as_a_whole(url: str) -> None:
    bundle = chat_bundle()
    said = ask(url, max_tokens=20)["choices"][0]["message"]
    for changed in ({**said, "content": said["content"][:7] + "#"}, {**said, "content": "I will."}):
        chat = [HELLO, changed, {"role": "user", "content": "Go on."}]
        again = ask(url, *chat, return_token_ids=True)
        plain = [{"role": each["role"], "content": each["content"]} for each in chat]
        assert again["prompt_token_ids"] == bundle.codec.encode_chat(plain)
    shortened = [{"role": "user", "content": "Before: a call."}, {"role": "user", "content": "Go on."}]
    assert ask(url, *shortened, return_token_ids=True)["prompt_token_ids"] == bundle.codec.encode_chat(shortened)


def recorded(text: str, *, stopped: bool = True) -> tuple[Conversations, Any, list[Message]]:
    """Conversations in which the model wrote a text to a user who offers a function, and the chat."""
    codec = chat_bundle().codec
    conversations = Conversations(codec, make_format("hermes"))
    chat = [Message.model_validate(HELLO)]
    prompt = conversations.prompt(chat, FUNCTIONS)
    ids = codec.encode_action(text)
    turn = conversations.record(prompt, Sampled(ids if stopped else ids[:-1], [0.0] * len(ids), stopped), text)
    return conversations, turn, [*chat, turn.message]


CALL = 'I look. <tool_call>\n{"name": "find_city", "arguments": {"name":"Oslo",  "n": 1}}\n</tool_call>'


def test_a_call_is_a_tool_call_and_its_result_extends_the_tokens() -> None:
    """Clients drop the thought and write the arguments in their own way; the tokens are those of the model."""
    conversations, turn, chat = recorded(CALL)
    (call,) = turn.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("find_city", {"name": "Oslo", "n": 1})
    assert turn.message.content == "I look."
    function = {"name": "find_city", "arguments": '{"n": 1, "name": "Oslo"}'}
    echo = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call.id, "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": "Norway"}
    prompt = conversations.prompt([chat[0], Message.model_validate(echo), Message.model_validate(result)], FUNCTIONS)
    assert prompt.parent is turn
    between = conversations.codec.encode_messages([{"role": "tool", "content": "Norway"}])
    assert prompt.ids == [*turn.prompt, *turn.sampled.ids, *between]


@pytest.mark.parametrize("text", [CALL.replace("Oslo", r"O\ud83d"), CALL.replace("city", r"\udc00")])
def test_a_call_with_half_a_character_can_be_sent_and_sent_back(text: str) -> None:
    conversations, turn, chat = recorded(text)
    (call,) = turn.message.tool_calls
    assert turn.message.model_dump_json()  # raises for what UTF-8 cannot hold
    assert json.loads(call.function.arguments) == make_format("hermes").parse(text).parsed
    result = Message(role="tool", content="Norway", tool_call_id=call.id)
    assert conversations.prompt([*chat, result], FUNCTIONS).parent is turn


@pytest.mark.parametrize("wrong", ["no call", "<tool_call>\n{broken", f"{CALL}\n{CALL}"])
def test_what_is_no_single_call_is_text(wrong: str) -> None:
    _, turn, _ = recorded(wrong)
    assert (turn.message.content, turn.message.tool_calls) == (wrong, [])


def test_a_cut_answer_is_closed_by_a_stop_token_in_the_next_prompt() -> None:
    conversations, turn, chat = recorded("no call", stopped=False)
    prompt = conversations.prompt([*chat, Message.model_validate(HELLO)], FUNCTIONS)
    assert prompt.ids[len(turn.prompt) + len(turn.sampled.ids)] == conversations.codec.stop_id


def test_changed_calls_or_tools_are_a_rewritten_history() -> None:
    conversations, turn, chat = recorded(CALL)
    (call,) = turn.message.tool_calls
    result = Message(role="tool", tool_call_id=call.id, content="Norway")
    assert conversations.prompt([*chat, result], FUNCTIONS).parent is turn
    assert conversations.prompt([*chat, result], [*FUNCTIONS, {"name": "other"}]).parent is None
    other = call.model_copy(update={"function": call.function.model_copy(update={"arguments": "{}"})})
    for changed in ({"tool_calls": [other]}, {"content": "You look."}):
        assert (
            conversations.prompt([chat[0], turn.message.model_copy(update=changed), result], FUNCTIONS).parent is None
        )


def test_tools_reach_a_model_whose_template_has_no_place_for_them(url: str) -> None:
    answer = ask(url, tools=[FIND], return_token_ids=True)
    text = chat_bundle().tokenizer.decode(answer["prompt_token_ids"])
    assert "find_city" in text
    assert "<tool_call>" in text
    without = ask(url, tools=[FIND], tool_choice="none", return_token_ids=True)
    assert without["prompt_token_ids"] == ask(url, return_token_ids=True)["prompt_token_ids"]


def test_a_name_inside_a_word_of_the_system_is_no_description() -> None:
    made = chat_bundle()
    functions = [{"name": "search", "description": "Search pages.", "parameters": {"type": "object", "properties": {}}}]
    system, asked = {"role": "system", "content": "You can research topics."}, {"role": "user", "content": "Hello."}
    conversations = Conversations(made.codec, make_format("react"))
    messages = [Message.model_validate(each) for each in (system, asked)]
    text = made.tokenizer.decode(conversations.prompt(messages, functions).ids)
    assert "Search pages." in text
    described = {"role": "system", "content": "Tools: search(): Search pages."}
    messages[0] = Message.model_validate(described)
    assert made.tokenizer.decode(conversations.prompt(messages, functions).ids).count("Search pages.") == 1


def test_requests_at_once_are_those_one_by_one(url: str) -> None:
    def one(seed: int) -> Any:
        return ask(url, seed=seed, max_tokens=5 + seed)["choices"]

    alone = [one(seed) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(one, range(12))) == alone


@pytest.mark.parametrize(
    ("fields", "says", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice='required': this value is not supported", "tool_choice"),
        ({"top_logprobs": 5}, "top_logprobs=5: this value is not supported", "top_logprobs"),
        ({"presence_penalty": 0.5}, "presence_penalty=0.5: this value is not supported", "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias={'5': 1}: this value is not supported; leave", "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "this value is not supported", "response_format.type"),
        ({"functions": []}, "functions=[]: this field is not supported; leave it out", "functions"),
        ({"temperature": 3}, "temperature=3: Input should be less than or equal to 2", "temperature"),
        ({"max_tokens": 0}, "max_tokens=0", "max_tokens"),
        ({"stop": list("abcde")}, "at most 4", "stop"),
        ({"messages": []}, "messages=[]", "messages"),
        ({"messages": [{}]}, "messages.0.role: this field is required", "messages.0.role"),
        ({"messages": [{"role": "robot", "content": ""}]}, "robot", "messages.0.role"),
        ({"messages": [HELLO, {"role": "assistant", "content": "So"}]}, "the last one is the assistant's", None),
        ({"messages": [IMAGE]}, "'image_url' is not supported; send text", "messages.0.content"),
        ({"messages": [part({"type": "{error.__class__}"})]}, "'{error.__class__}' is not", "messages.0.content"),
        ({"messages": [part({"type": "{"})]}, "type '{' is not supported", "messages.0.content"),
        ({"messages": [part({"type": "text"})]}, "has text=None; send a text there", "messages.0.content"),
        ({"messages": [part({"type": "text", "text": {}})]}, "has text={}; send a text there", "messages.0.content"),
        ({"messages": [{"role": "user", "content": "long " * 600}]}, "leaves no room", "messages"),
        ({"model": "gpt-5"}, "model='gpt-5' is not served; there is chat", "model"),
        ({"stream_options": {"include_usage": True}}, "only with stream=true", None),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(
    url: str, fields: dict[str, Any], says: str, param: str | None
) -> None:
    error = refused(url, **fields)
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_a_body_that_is_not_json_is_refused_with_the_place(url: str) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{url}/v1/chat/completions", content='{"model": ', headers=headers, timeout=60)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["message"] == "the body is not JSON: Expecting value at character 10; send a JSON object"
    assert error["param"] is None


@pytest.mark.parametrize("content", ["", "[1]", '"x"', '{"model": "chat"}'])
def test_a_body_that_is_no_object_is_refused_with_the_remedy(url: str, content: str) -> None:
    """None at all, another value, and an object that the header says to be a form."""
    kind = "application/x-www-form-urlencoded" if content[:1] == "{" else "application/json"
    answer = httpx.post(f"{url}/v1/chat/completions", content=content, headers={"content-type": kind}, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "the body is not a JSON object; send one, with the header Content-Type: application/json"
    )


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/responses"])
def test_an_address_that_is_none_is_answered_with_one_that_is(url: str, path: str) -> None:
    answer = httpx.post(f"{url}{path}", json={}, timeout=60)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["message"].startswith(f"POST {path}: there is no such route; ")
    assert error["message"].endswith("(POST /v1/chat/completions), whose base URL ends in /v1")
    assert httpx.get(f"{url}/v1/chat/completions", timeout=60).status_code == 405


def test_texts_in_parts_and_fields_that_change_nothing_are_accepted(url: str) -> None:
    parts = {
        "role": "user",
        "content": [{"type": "text", "text": "You can "}, {"type": "text", "text": "call functions."}],
    }
    fields = {"user": "me", "metadata": {"a": "b"}, "store": False, "parallel_tool_calls": True, "top_logprobs": 0}
    assert ask(url, parts, **fields)["choices"] == ask(url)["choices"]


def test_several_models_are_served_by_name_and_loaded_when_asked_for() -> None:
    from tests.agents.bandit import bundle

    with serving(served(chat_bundle()), served(bundle("none"), "bandit", "react")) as url:
        listed = httpx.get(f"{url}/v1/models").json()["data"]
        assert [entry["id"] for entry in listed] == ["chat", "bandit"]
        assert httpx.get(f"{url}/v1/models/bandit").json()["id"] == "bandit"
        assert httpx.get(f"{url}/v1/models/other").status_code == 404
        answer = ask(url, {"role": "user", "content": "x"}, model="bandit", max_tokens=2)
        assert answer["model"] == "bandit"
        assert answer["choices"][0]["message"]["content"] in list("abcd")
        assert answer["choices"][0]["finish_reason"] == "stop"
