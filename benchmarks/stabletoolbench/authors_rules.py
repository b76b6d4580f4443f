"""StepTool's published rules, re-created to be measured (its notebook `annotation_by_rules.ipynb`; not used elsewhere).

A call succeeds when its answer begins with an empty error; it contributes when the longest common subsequence of
characters of response and final answer covers 30 % of the response.
"""

from __future__ import annotations

from collections import defaultdict

import orjson

_EMPTY_ERROR = '{"error": "", "response": '
_THRESHOLD = 0.3


def succeeded(body: str) -> float:
    """Their `check_success`: its first test, on the text, lets every body with an empty error pass."""
    return float(body.startswith(_EMPTY_ERROR))


def contribution(body: str, answer: str) -> float:
    """Their `calc_contribution`: 0 or 1."""
    try:
        response = str(orjson.loads(body)["response"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        response = body[len(_EMPTY_ERROR) :]
    return float(bool(response) and common_subsequence(response, answer) / len(response) >= _THRESHOLD)


def common_subsequence(first: str, second: str) -> int:
    """Length of the longest common subsequence of characters (bit-parallel: Crochemore et al., IPL 80, 2001)."""
    places: dict[str, int] = defaultdict(int)
    for index, character in enumerate(first):
        places[character] |= 1 << index
    full = (1 << len(first)) - 1
    row = full
    for character in second:
        matches = row & places.get(character, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()
