"""Final reward: `is_solved` at the last step, otherwise 0."""

from __future__ import annotations

from typing import Any

from steptool_env.judges import Judge
from steptool_env.rewards.base import StepReward
from steptool_env.rewards.judged import JudgedScorer, named_judge, well_formed
from steptool_env.types import Step, Task


class FinalReward:
    """`is_solved` for `Finish`, 0 for every other step: the sparse baseline of StepTool."""

    def __init__(self, judge: str | Judge = "rules", **judge_options: Any) -> None:
        """`judge` is a `Judge`, or a name (`rules`, `recorded`, `llm`, ...) built with `judge_options`."""
        self.judge = named_judge(judge, judge_options)

    def start(self, task: Task) -> FinalScorer:
        """Return a new scorer for one episode of `task`."""
        return FinalScorer(task, self.judge)


class FinalScorer(JudgedScorer):
    """Scores one episode by its outcome only."""

    def score(self, step: Step) -> StepReward:
        """Return `is_solved` for `Finish`, else 0."""
        self.steps.append(step)
        if not step.finished:
            return StepReward(0.0, {"format": well_formed(step)})
        solved = self.judgement.solved
        return StepReward(solved, {"format": well_formed(step), "is_solved": solved})

    def hindsight(self) -> None:
        """Return `None`: nothing changes in hindsight."""
        return
