"""Shared parts of the rewards that use a judge."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from steptool_env.judges import Judge, Judgement, make_judge
from steptool_env.rewards.base import EpisodeScorer
from steptool_env.types import Step, Task


def well_formed(step: Step) -> float:
    """Return the term `format`: 1 for a call of an offered function with valid arguments, else 0."""
    return float(not step.malformed)


class JudgedReward:
    """Base of rewards that use a judge; a subclass names the class of its scorers."""

    scorer: Callable[[Task, Judge], EpisodeScorer]
    judges_steps = True
    """False for a reward that reads only `is_solved`: a judge that asks a model then asks about that alone."""

    def __init__(self, judge: str | Judge = "rules", **judge_options: Any) -> None:
        """`judge` is a `Judge`, or a name (`rules`, `recorded`, `llm`, ...) built with `judge_options`."""
        if not self.judges_steps and judge == "llm" and judge_options.get("verdict", "steps") != "steps":
            judge_options.setdefault("steps", False)
        self.judge = make_judge(judge, **judge_options) if isinstance(judge, str) else judge

    def start(self, task: Task) -> EpisodeScorer:
        """Return a new scorer for one episode of `task`."""
        return self.scorer(task, self.judge)


class JudgedScorer:
    """Base of scorers that use a judge: the steps of one episode and its judgement, computed at the first use."""

    def __init__(self, task: Task, judge: Judge) -> None:
        self.task = task
        self.judge = judge
        self.steps: list[Step] = []

    @cached_property
    def judgement(self) -> Judgement:
        """Judgement of the finished episode."""
        return self.judge.judge(self.task, self.steps)

    def outcome(self) -> Mapping[str, float]:
        """Return `is_solved` (mean over repeats), `is_recorded`, `is_solved_<repeat>`, and the judge's details."""
        repeats = {f"is_solved_{index}": value for index, value in enumerate(self.judgement.is_solved)}
        repeats = repeats if len(repeats) > 1 else {}
        judged = {"is_solved": self.judgement.solved, "is_recorded": float(self.judgement.recorded)}
        return {**self.judgement.details, **judged, **repeats}
