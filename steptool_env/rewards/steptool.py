"""StepTool's step-grained reward (arXiv 2410.07745, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steptool_env.judges import Judge
from steptool_env.rewards.base import StepReward
from steptool_env.rewards.judged import EpisodeJudgement, named_judge, well_formed
from steptool_env.types import Step, Task


class StepToolReward:
    """`(succ_calling + contribution) / 2` for every tool call, `is_solved` for the last step.

    All terms are in [0, 1]; the paper's contribution of 0 to 5 is divided by 5. The last step is paid by
    `is_solved` alone, also when it is a tool call at which the budget ran out (then 0), as in the
    published annotations.

    A contribution is known only when the episode is over. So `step` pays what is known at once
    (`succ_calling / 2`, and `is_solved` for `Finish`), and the rewards proper arrive in hindsight.
    """

    def __init__(self, judge: str | Judge = "rules", **judge_options: Any) -> None:
        """`judge` is a name (`rules`, `recorded`, `llm`, ...) built with `judge_options`, or a judge."""
        self.judge = named_judge(judge, judge_options)

    def start(self, task: Task) -> StepToolScorer:
        """A fresh scorer for one episode of `task`."""
        return StepToolScorer(task, self.judge)


class StepToolScorer:
    """Scores one episode by StepTool's formula."""

    def __init__(self, task: Task, judge: Judge) -> None:
        self._episode = EpisodeJudgement(task, judge)

    def score(self, step: Step) -> StepReward:
        """What is known of `step` at once."""
        episode = self._episode
        episode.steps.append(step)
        if step.finished:
            return _last(step, episode.judgement.solved)
        succeeded = episode.judge.call_succeeded(episode.task, step)
        if succeeded is None:
            return StepReward(0.0, {"format": well_formed(step)})
        return StepReward(succeeded / 2, {"format": well_formed(step), "succ_calling": succeeded})

    def hindsight(self) -> tuple[StepReward, ...]:
        """The reward of every step, with its contribution to the final answer."""
        steps, judgement = self._episode.steps, self._episode.judgement
        if not steps:
            return ()
        calls = zip(steps[:-1], judgement.succ_calling, judgement.contribution, strict=False)
        return (*(_call(*call) for call in calls), _last(steps[-1], judgement.solved))

    def outcome(self) -> Mapping[str, float]:
        """What the judge says of the episode; see `EpisodeJudgement.outcome`."""
        return self._episode.outcome()


def _call(step: Step, succeeded: float, contribution: float) -> StepReward:
    terms = {"format": well_formed(step), "succ_calling": succeeded, "contribution": contribution}
    return StepReward((succeeded + contribution) / 2, terms)


def _last(step: Step, solved: float) -> StepReward:
    return StepReward(solved, {"format": well_formed(step), "is_solved": solved})
