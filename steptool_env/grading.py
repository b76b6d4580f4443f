"""Grading of episodes by a reference solution, without a judge, in the environments whose tasks have one."""

from typing import Any, NamedTuple, Protocol

from steptool_env.types import Step
from toolserver.calls.json_parsing import parse


class Progress(NamedTuple):
    """Progress by one step.

    Attributes:
        done: Indices of the needed calls that this step is the first to make.
        useful: True for a call that costs nothing although it may reach no needed call, such as a page of a list.
    """

    done: tuple[int, ...] = ()
    useful: bool = False


class StepProgress(Protocol):
    """Progress by one step, as `EpisodeGrading.observe` returns it; see `Progress`."""

    @property
    def done(self) -> tuple[int, ...]:
        """Indices of the needed calls that this step is the first to make."""

    @property
    def useful(self) -> bool:
        """True for a call that costs nothing."""


class EpisodeGrading(Protocol):
    """Grading of one episode, a deterministic function of the task and the steps."""

    @property
    def needed(self) -> int:
        """Number of needed calls."""

    @property
    def progress(self) -> float:
        """Share of the needed calls that were made, 0 to 1."""

    @property
    def solved(self) -> bool:
        """True if the finished episode solved its task."""

    @property
    def contribution(self) -> tuple[bool, ...]:
        """True for each step that contributed; read it after the last step. Shape: (steps,)."""

    def observe(self, step: Step) -> StepProgress:
        """Record the next step."""

    def outcome(self) -> dict[str, float]:
        """Return the values of `info["outcome"]`."""


class CallsGrading(EpisodeGrading, Protocol):
    """Grading by a list of needed calls.

    Attributes:
        reached: Index of the step that made each needed call, by the index of the call.
    """

    reached: dict[int, int]


def arguments_of(step: Step) -> dict[str, Any] | None:
    """Return the arguments of a call that a tool answered; `None` where they are no object, as only a file has them."""
    try:
        arguments = parse(step.action.arguments or "{}") if step.action.parsed is None else step.action.parsed
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None
