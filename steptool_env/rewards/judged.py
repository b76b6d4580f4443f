"""What the reward kinds share that ask a judge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from steptool_env.judges import Judge, Judgement, make_judge
from steptool_env.types import Step, Task


def well_formed(step: Step) -> float:
    """The term `format`: 1 when the text was a call of an offered function with arguments that it takes, else 0."""
    return float(not step.malformed)


def named_judge(judge: str | Judge, options: Mapping[str, Any]) -> Judge:
    """`judge` itself, or the one of that name built with `options`."""
    return make_judge(judge, **options) if isinstance(judge, str) else judge


class EpisodeJudgement:
    """The steps of one episode so far and, asked for once, the judgement of it."""

    def __init__(self, task: Task, judge: Judge) -> None:
        self.task = task
        self.judge = judge
        self.steps: list[Step] = []

    @cached_property
    def judgement(self) -> Judgement:
        """The judgement of the finished episode."""
        return self.judge.judge(self.task, self.steps)

    def outcome(self) -> Mapping[str, float]:
        """`is_solved` (mean over repeats), `is_recorded`, `is_solved_<repeat>` of several, and the judge's details."""
        repeats = {f"is_solved_{index}": value for index, value in enumerate(self.judgement.is_solved)}
        repeats = repeats if len(repeats) > 1 else {}
        judged = {"is_solved": self.judgement.solved, "is_recorded": float(self.judgement.recorded)}
        return {**self.judgement.details, **judged, **repeats}
