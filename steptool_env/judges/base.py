"""What a judge says about an episode, for any reward kind that asks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from steptool_env.types import Step, Task


class Judgement(NamedTuple):
    """What a judge says of a whole episode.

    Attributes:
        succ_calling: For every step, whether its tool call succeeded, 0 to 1. Shape: (steps,).
        contribution: For every step, how much it contributed to the final answer, 0 to 1 (StepTool's scale of 0
            to 5, divided by 5). Shape: (steps,).
        is_solved: Whether the task was solved, once per repeat of the judge: 1 solved, 0.5 unsure, 0 unsolved.
            Shape: (repeats,), at least one.
        recorded: Whether this is a published judgement that was looked up.
        details: What else the judge knows of the outcome, for `info["outcome"]`.

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

    A judge of rules is a pure function of its arguments. All steps of the episode are given, the last
    one included, whether the episode ended by `Finish` or by its budget.
    """

    def call_succeeded(self, task: Task, step: Step) -> float | None:
        """Whether the tool call of `step` succeeded, 0 to 1; `None` where this is known only at the end."""
        ...

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Judge the finished episode."""
        ...
