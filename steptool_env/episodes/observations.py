"""How an answer is shown to a policy: cut to a length, with the calls that remain."""

from __future__ import annotations


def cut(text: str, max_length: int) -> str:
    """The first `max_length` characters and a visible marker, or `text` where it is short enough.

    The marker begins with the `...` that ToolBench's client appends, so the cut text is its observation too.
    """
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}... [{len(text) - max_length} characters cut]"


CALLS_LEFT = "\nCalls left: "
"""Start of the line that ends every prompt and observation."""


def observe(answer: str, max_length: int, calls_left: int) -> str:
    """The observation of a step: the answer, cut, and on its own line the number of calls that remain."""
    return f"{cut(answer, max_length)}{CALLS_LEFT}{calls_left}"


def answer_in(observation: str) -> str:
    """The answer inside an observation: all of it but the calls that remain."""
    answer, _, left = observation.rpartition(CALLS_LEFT)
    return answer if left.isdigit() else observation
