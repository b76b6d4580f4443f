import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolserver.calls.call_key import KEY_BYTES, canonical_arguments, canonical_key
from toolserver.calls.json_parsing import MAX_NESTING
from toolserver.errors import DataError

# Few distinct values, so that two draws often differ only in a type, an order or a sign.
scalars = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, "", "0", "1", "1.0", "null", "true", "a", "é"]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), "NaN", "Infinity", 1e16, 10**16, "\ud800", "\\ud800"]),
    st.sampled_from([2**63, 2**64, -(2**64), 2**200, 1.5e300]),
    st.integers(-3, 3),
    st.text(max_size=2),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abé"), inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "\ud801", ""]), values, max_size=3)


def reference_key(value: Any) -> str:
    """StableToolBench's own key, `str()`, of the value with every object's names in order."""
    return str(in_order(value))


def in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


@given(objects, objects)
def test_calls_are_one_exactly_when_the_reference_keys_are_but_for_order(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    same = canonical_key("C", "t", "a", one) == canonical_key("C", "t", "a", two)
    assert same == (reference_key(one) == reference_key(two))


@given(objects)
def test_the_order_of_names_does_not_matter(arguments: dict[str, Any]) -> None:
    backwards = dict(reversed(arguments.items()))
    assert canonical_arguments(arguments) == canonical_arguments(backwards)


@given(objects)
def test_the_canonical_text_keeps_every_value(arguments: dict[str, Any]) -> None:
    read_back = json.loads(canonical_arguments(arguments))
    assert reference_key(read_back) == reference_key(arguments)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"a": True}),
        ({"a": ""}, {}),
        ({"a": None}, {}),
        ({"a": float("nan")}, {"a": None}),
        ({"a": 2**64}, {"a": float(2**64)}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": "x"}, {"A": "x"}),
    ],
)
def test_different_calls_have_different_keys(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert canonical_key("C", "t", "a", one) != canonical_key("C", "t", "a", two)


def test_numbers_written_differently_are_the_same_call() -> None:
    assert canonical_arguments(json.loads('{"a": 1e3}')) == canonical_arguments(json.loads('{"a": 1000.0}'))


def test_names_and_arguments_cannot_run_into_each_other() -> None:
    keys = {
        canonical_key(*names, {})
        for names in [("a", "b", "c"), ("a\nb", "c", ""), ("a\nb\nc", "", ""), ("", "a", "b"), ("a", "", "b_c")]
    }
    assert len(keys) == 5
    assert {len(key) for key in keys} == {KEY_BYTES}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({1: 2}, "argument name 1 "),
        ({"a": [{None: 1}]}, "argument name None in a "),
        ({"a": {1, 2}}, "set"),
        ({"a": b"x"}, "bytes"),
        ({"a": 10**5000}, "digits"),
    ],
)
def test_what_is_no_json_is_refused_with_its_name(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        canonical_arguments(arguments)


@pytest.mark.parametrize("depth", [100, 300, 100_000])
def test_deep_arguments_are_keyed_or_refused_but_never_crash(depth: int) -> None:
    arguments: dict[str, Any] = {}
    for _ in range(depth):
        arguments = {"a": arguments}
    if depth < MAX_NESTING:
        assert canonical_arguments(arguments).count(b"{") == depth + 1
    else:
        with pytest.raises(DataError, match="nested deeper"):
            canonical_arguments(arguments)
