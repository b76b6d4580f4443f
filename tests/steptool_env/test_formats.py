"""Tests of the formats: round trip, arbitrary texts, error messages."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.errors import ConfigurationError
from steptool_env.formats import FORMATS, make_format
from steptool_env.formats.base import Format

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=4)
THOUGHTS = st.text(st.characters(exclude_characters="{<:", codec="utf-8"), max_size=60).map(str.strip)
MARKUP = ["Thought:", "Action:", "Action Input:", "<tool_call>", "</tool_call>", "<|python_tag|>", "{", "}", '"name"']
PIECES = st.sampled_from([*MARKUP, "\n", ":", '"arguments"', "[", "1e999", "\ud800"]) | st.text(max_size=5)
NOISE = st.lists(PIECES).map("".join)

ALL_FORMATS = [make_format(name) for name in FORMATS.names()]
each_format = pytest.mark.parametrize("call_format", ALL_FORMATS, ids=FORMATS.names())


@each_format
@settings(max_examples=60)
@given(name=NAMES, arguments=ARGUMENTS, thought=THOUGHTS)
def test_what_is_rendered_is_parsed_back(
    call_format: Format, name: str, arguments: dict[str, object], thought: str
) -> None:
    text = call_format.render(name, json.dumps(arguments), thought)
    action = call_format.parse(text)
    assert action.error == ""
    assert (action.text, action.name, action.thought) == (text, name, thought)
    assert json.loads(action.arguments) == arguments
    assert json.loads(call_format.parse(call_format.render(name, arguments, thought)).arguments) == arguments


@each_format
@settings(max_examples=120)
@given(text=NOISE)
def test_any_text_is_an_action(call_format: Format, text: str) -> None:
    action = call_format.parse(text)
    assert action.text == text
    if not action.error:
        assert action.name
        assert not action.arguments or isinstance(json.loads(action.arguments), dict)


@each_format
@settings(max_examples=40)
@given(name=NAMES, arguments=ARGUMENTS, cut=st.integers(1, 20))
def test_a_call_that_breaks_off_is_never_another_call(
    call_format: Format, name: str, arguments: dict[str, object], cut: int
) -> None:
    action = call_format.parse(call_format.render(name, json.dumps(arguments))[:-cut])
    assert action.error or (action.name == name and (not action.arguments or json.loads(action.arguments) == arguments))


@each_format
@pytest.mark.parametrize("arguments", ["[]", "1", '"text"', "null", "{", "{'a': 1}", "[" * 100_000])
def test_arguments_that_are_no_object_are_an_error(call_format: Format, arguments: str) -> None:
    action = call_format.parse(call_format.render("search", arguments))
    assert action.error


@each_format
def test_no_arguments_at_all_are_none(call_format: Format) -> None:
    action = call_format.parse(call_format.render("list_all", ""))
    assert (action.error, action.name) == ("", "list_all")
    assert action.arguments in ("", "{}")


@each_format
def test_the_example_is_a_call(call_format: Format) -> None:
    action = call_format.parse(call_format.example)
    assert (action.error, action.name, json.loads(action.arguments)) == ("", "function", {"argument": "value"})


@each_format
def test_the_offer_names_every_function(call_format: Format) -> None:
    functions = [{"name": f"f{i}", "description": f"does {i}", "parameters": {"type": "object"}} for i in range(3)]
    offer = call_format.offer(functions)
    assert all(f"f{i}" in offer and f"does {i}" in offer for i in range(3))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("react", "Thought: I look.\nAction: search\nAction Input: {\n  \"q\": \"x\"\n}"),  # as ToolLLaMA writes it
        ("react", 'I look. Action: search\nAction Input: {"q": "x"}'),
        ("openai", '{"role": "assistant", "function_call": {"name": "search", "arguments": "{\\"q\\": \\"x\\"}"}}'),
        ("openai", '{"name": "search", "arguments": {"q": "x"}}'),
        ("openai", '{"content": null, "tool_calls": [{"id": "1", "type": "function", "function": '
                   '{"name": "search", "arguments": "{\\"q\\": \\"x\\"}"}}]}'),
        ("hermes", 'I look.\n<tool_call>{"name": "search", "arguments": {"q": "x"}}'),  # stopped at the closing tag
        ("hermes", '<tool_call>\n{"name": "search", "arguments": {"q": "x"}}\n</tool_call><|im_end|>'),
        ("hermes", '<think>\nI answer in <tool_call></tool_call>, or not.\n</think>\n\n'
                   '<tool_call>\n{"name": "search", "arguments": {"q": "x"}}\n</tool_call>'),
        ("hermes", '<think>\nThis never ends\n<tool_call>\n{"name": "search", "arguments": {"q": "x"}}\n</tool_call>'),
        ("llama3", '<|python_tag|>{"name": "search", "parameters": {"q": "x"}}'),
        ("llama3", 'I look.\n{"name": "search", "parameters": {"q": "x"}}'),
    ],
)  # fmt: skip
def test_what_models_write_is_read(name: str, text: str) -> None:
    action = make_format(name).parse(text)
    assert (action.error, action.name, json.loads(action.arguments)) == ("", "search", {"q": "x"})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("react", "I have found the answer.", "`Action:`"),
        ("react", "Action: search", "`Action Input:`"),
        ("react", "Action:\nAction Input: {}", "no function name"),
        ("react", "Action: search\nAction Input: {}\nObservation: made up", "not JSON"),
        ("openai", "plain words", "JSON object"),
        ("openai", '{"content": "hello"}', "no function name"),
        ("openai", '{"tool_calls": [{}, {}]}', "2 calls"),
        ("openai", '{"tool_calls": ["x"]}', "no function call"),
        ("hermes", "plain words", "`<tool_call>`"),
        ("hermes", "<tool_call>[1]</tool_call>", "JSON object"),
        ("hermes", '<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b"}</tool_call>', "several calls"),
        ("hermes", '<tool_call>{"name": "a"} and more</tool_call>', "goes on"),
        ("hermes", '<think>Perhaps <tool_call>{"name": "a"}</tool_call>.</think> No.', "has no `<tool_call>`"),
        ("llama3", "plain words", "starts with `{`"),
        ("llama3", '{"name": "a"} {"name": "b"}', "JSON object"),
    ],
)
def test_a_text_without_a_call_has_a_reason(name: str, text: str, says: str) -> None:
    assert says in make_format(name).parse(text).error


def test_an_unknown_format_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'xml': give one of hermes, llama3, openai, react"):
        make_format("xml")


def test_parsing_takes_time_in_proportion_to_the_text() -> None:
    for call_format in ALL_FORMATS:
        for piece in MARKUP:
            assert call_format.parse(piece * 200_000).error
