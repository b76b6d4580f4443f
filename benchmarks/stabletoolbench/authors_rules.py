"""StepTool's published rules (notebook `annotation_by_rules.ipynb`), re-implemented for the comparison of judges.

A call succeeds when its answer begins with an empty error; it contributes when the longest common subsequence of
characters of response and final answer covers 30 % of the response.
"""

from collections import defaultdict

import orjson

_EMPTY_ERROR = '{"error": "", "response": '
_THRESHOLD = 0.3


def succeeded(body: str) -> float:
    """Return the result of `check_success`, whose first test accepts every body with an empty error."""
    return float(body.startswith(_EMPTY_ERROR))


def contribution(body: str, answer: str) -> float:
    """Return the result of `calc_contribution`: 0 or 1."""
    try:
        response = str(orjson.loads(body)["response"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        response = body[len(_EMPTY_ERROR) :]
    return float(bool(response) and common_subsequence(response, answer) / len(response) >= _THRESHOLD)


def common_subsequence(first: str, second: str) -> int:
    """Return the length of the longest common subsequence (bit-parallel: Crochemore et al., IPL 80, 2001)."""
    places: dict[str, int] = defaultdict(int)
    for index, character in enumerate(first):
        places[character] |= 1 << index
    full = (1 << len(first)) - 1
    row = full
    for character in second:
        matches = row & places.get(character, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()
