"""The final reward: nothing until the last step, then whether the task is solved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steptool_env.judges import Judge
from steptool_env.rewards.base import StepReward
from steptool_env.rewards.judged import EpisodeJudgement, named_judge, well_formed
from steptool_env.types import Step, Task


class FinalReward:
    """`is_solved` for a `Finish`, 0 for every other step: the sparse reward that StepTool is compared with."""

    def __init__(self, judge: str | Judge = "rules", **judge_options: Any) -> None:
        """`judge` is a name (`rules`, `recorded`, `llm`, ...) built with `judge_options`, or a judge."""
        self.judge = named_judge(judge, judge_options)

    def start(self, task: Task) -> FinalScorer:
        """A fresh scorer for one episode of `task`."""
        return FinalScorer(task, self.judge)


class FinalScorer:
    """Scores one episode by its outcome alone."""

    def __init__(self, task: Task, judge: Judge) -> None:
        self._episode = EpisodeJudgement(task, judge)

    def score(self, step: Step) -> StepReward:
        """`is_solved` for a `Finish`, else 0."""
        self._episode.steps.append(step)
        if not step.finished:
            return StepReward(0.0, {"format": well_formed(step)})
        solved = self._episode.judgement.solved
        return StepReward(solved, {"format": well_formed(step), "is_solved": solved})

    def hindsight(self) -> None:
        """Nothing changes in hindsight."""
        return

    def outcome(self) -> Mapping[str, float]:
        """What the judge says of the episode; see `EpisodeJudgement.outcome`."""
        return self._episode.outcome()
