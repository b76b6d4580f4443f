"""Text of observations: the response, cut to a length, and the number of remaining calls."""


def cut(text: str, max_length: int) -> str:
    """Return `text`, or its first `max_length` characters and a visible marker if it is longer.

    The marker begins with the `...` that ToolBench's client appends.
    """
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}... [{len(text) - max_length} characters cut]"


CALLS_LEFT = "\nCalls left: "
"""Start of the last line of every prompt and observation."""


def observe(answer: str, max_length: int, calls_left: int) -> str:
    """Return the observation of a step: the cut response, and a line with the number of remaining calls."""
    return f"{cut(answer, max_length)}{CALLS_LEFT}{calls_left}"


def answer_in(observation: str) -> str:
    """Return the response inside an observation, without the line of the remaining calls."""
    answer, _, left = observation.rpartition(CALLS_LEFT)
    return answer if left.isdigit() else observation
