"""JSON of any depth: judged by an iterative scan before a parser recurses in it."""

import json
import random
import sys
from typing import Any

import pytest

from toolserver.calls.json_parsing import MAX_NESTING, check_nesting, cut_nesting, holds_large_float, is_deeper, parse


def values(seed: int) -> Any:
    """A JSON value, nested up to a few levels above or below the limit, whose strings hold brackets and quotes."""
    random_ = random.Random(seed)

    def value(depth: int) -> Any:
        if not depth or random_.random() < 0.2:
            return random_.choice([1, "[[{", '\\"', None, "]"])
        if random_.random() < 0.5:
            return [value(depth - 1) for _ in range(random_.choice([0, 1, 1, 40]))]
        return {random_.choice(["a", '"[', "\\", "é]"]): value(depth - 1)}

    made = value(random_.choice([1, 3]))
    for _ in range(random_.choice([0, MAX_NESTING - 3, MAX_NESTING - 1, MAX_NESTING, MAX_NESTING + 40])):
        made = [made] if random_.random() < 0.5 else {'x]"': made, "y": "{"}
    return made


def test_the_scan_finds_the_depth_of_the_value() -> None:
    deep = 0
    for seed in range(1500):
        value = values(seed)
        text = json.dumps(value)
        too_deep = isinstance(value, dict | list) and is_deeper(value, MAX_NESTING)
        if too_deep:
            deep += 1
            with pytest.raises(ValueError, match="nested deeper than 128"):
                check_nesting(text)
            with pytest.raises(ValueError, match="nested deeper than 128"):
                parse(text)
            cut = json.loads(cut_nesting(text))
            assert is_deeper(cut, MAX_NESTING)
            assert not is_deeper(cut, MAX_NESTING + 1)
        else:
            check_nesting(text + " and more [" * 200 if isinstance(value, dict | list) else text)
            assert parse(text) == value
            assert cut_nesting(text) == text
    assert 300 < deep < 1200


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"a":[', '["[",'])
def test_text_of_any_depth_is_refused_and_never_crashes(opening: str) -> None:
    limit = sys.getrecursionlimit()
    for depth in (*range(limit - 50, limit + 30), 100_000):
        with pytest.raises(ValueError, match=r"nested|Expecting"):
            parse(opening * depth)


def test_large_floats_are_found_at_any_depth() -> None:
    for number, found in ((2.0**63, True), (-1e19, True), (1e18, False), ("1e300", False)):
        value: Any = {"a": number}
        for _ in range(5000):
            value = [value, "text"]
        assert holds_large_float(value) is found


def test_parsing_agrees_with_python_on_what_only_python_takes() -> None:
    assert parse("[NaN]")[0] != parse("[NaN]")[0]
    assert parse("9223372036854775808") == 2**63
    assert parse('"\\udc00"') == "\udc00"
    for text in ("", "{'a': 1}", "[1,]", "\ufeff{}", "[" * 10_000):
        with pytest.raises(ValueError):
            parse(text)
