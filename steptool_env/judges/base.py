"""Protocol of judges, used by rewards."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from steptool_env.types import Step, Task


class Judgement(NamedTuple):
    """Judgement of an episode.

    Attributes:
        succ_calling: Success of each tool call, 0 to 1. Shape: (steps,).
        contribution: Contribution of each step to the final answer, 0 to 1 (StepTool's 0 to 5, divided by 5).
            Shape: (steps,).
        is_solved: Verdict per repeat of the judge: 1 solved, 0.5 unsure, 0 unsolved. Shape: (repeats,), not empty.
        recorded: True for a published judgement that was looked up.
        details: Further terms for `info["outcome"]`.

    The entry of a `Finish` step is 0 in both vectors: its reward is `is_solved`.
    """

    succ_calling: tuple[float, ...]
    contribution: tuple[float, ...]
    is_solved: tuple[float, ...]
    recorded: bool = False
    details: Mapping[str, float] = MappingProxyType({})

    @property
    def solved(self) -> float:
        """Mean of `is_solved` over the repeats."""
        return sum(self.is_solved) / len(self.is_solved)


class Judge(Protocol):
    """Judges the steps and the outcome of an episode.

    `judge` receives all steps of the episode, including the last one, after `Finish` and after the end of the budget.
    """

    def call_succeeded(self, task: Task, step: Step) -> float | None:
        """Return the success of the tool call of `step`, 0 to 1; `None` if it is known only at the end."""

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Judge the finished episode."""


@runtime_checkable
class PairwiseJudge(Judge, Protocol):
    """Judge that also compares two episodes of one task."""

    repeats: int

    def better(self, task: Task, first: Sequence[Step], second: Sequence[Step], repeat: int) -> float:
        """Return 1 if the first episode is better, 0 if the second one is, 0.5 if neither can be said to be."""
