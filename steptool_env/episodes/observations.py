"""Text of observations: the response, cut to a length, and the number of remaining calls.

There are two styles. In `budget` a cut response ends with a marker that says how much was cut, and the last line of
every prompt and observation is the number of remaining calls. `toolbench` is what ToolBench's client shows: the marker
`...`, and no such line.
"""

from steptool_env.errors import ConfigurationError

STYLES = ("budget", "toolbench")


def check_observation(style: str) -> str:
    """Return `style`. Raise `ConfigurationError` if it is unknown."""
    if style not in STYLES:
        raise ConfigurationError(f"observation={style!r}: must be one of {', '.join(STYLES)}")
    return style


def cut(text: str, max_length: int) -> str:
    """Return `text`, or its first `max_length` characters and a visible marker if it is longer.

    The marker begins with the `...` that ToolBench's client appends.
    """
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}... [{len(text) - max_length} characters cut]"


CALLS_LEFT = "\nCalls left: "
"""Start of the last line of every prompt and observation."""


def observe(answer: str, max_length: int, calls_left: int, style: str = "budget") -> str:
    """Return the observation of a step: the cut response, and in `budget` the number of remaining calls."""
    if style == "toolbench":
        return answer if len(answer) <= max_length else f"{answer[:max_length]}..."
    return f"{cut(answer, max_length)}{CALLS_LEFT}{calls_left}"


def answer_in(observation: str) -> str:
    """Return the response inside an observation, without the line of the remaining calls."""
    answer, _, left = observation.rpartition(CALLS_LEFT)
    return answer if left.isdigit() else observation
