"""ToolWorld's default reward: pays progress once, and never pays padding."""

from __future__ import annotations

from collections.abc import Mapping

from steptool_env.errors import ConfigurationError
from steptool_env.rewards.base import StepReward
from steptool_env.toolworld.reward_truth import ToolWorldGrading
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import Provenance


class ProgressReward:
    """The first success of a needed call earns; solving the task earns the rest of 1.

    With n needed calls, each pays `share / n` the first time that it succeeds, whichever offered API does it. A right
    end pays what is missing to 1, so that a perfect episode is worth 1 at any depth, and so is one that finds the
    answer in another way. A wrong end pays nothing. Every other call (a repeat, a needless or an invalid one) costs
    `cost`; a call that failed by an injected fault, and a page of a needed list, cost nothing.

    Hence calls that are added to an episode without being needed never raise its return.

    Args:
        share: What the needed calls are worth together, 0 to 1.
        cost: What a call that is no progress costs, at least 0.

    Raises:
        ConfigurationError: An option is out of range.
    """

    def __init__(self, share: float = 0.5, cost: float = 0.02) -> None:
        if not 0 <= share <= 1:
            raise ConfigurationError(f"share={share!r}: must be a number from 0 to 1")
        if cost < 0:
            raise ConfigurationError(f"cost={cost!r}: must be at least 0")
        self.share = share
        self.cost = cost

    def start(self, task: Task) -> ProgressScorer:
        """A fresh scorer for one episode of `task`, which must be ToolWorld's."""
        return ProgressScorer(task, self.share, self.cost)


class ProgressScorer:
    """Scores one episode by its progress."""

    def __init__(self, task: Task, share: float, cost: float) -> None:
        self._episode = ToolWorldGrading(task)
        self._unit = share / max(1, len(self._episode.tracker.milestones))
        self._cost = cost
        self._earned = 0.0

    def score(self, step: Step) -> StepReward:
        """The reward of `step`, with the terms `progress`, `cost` and, at the end, `is_solved`."""
        observed = self._episode.observe(step)
        if step.finished:
            solved = float(self._episode.grade.solved)
            reward = (1.0 - self._earned) * solved
            return StepReward(reward, {"progress": 0.0, "cost": 0.0, "is_solved": solved})
        progress = self._unit * len(observed.done)
        self._earned += progress
        spared = observed.useful or step.provenance is Provenance.INJECTED
        cost = 0.0 if spared else self._cost
        return StepReward(progress - cost, {"progress": progress, "cost": -cost})

    def hindsight(self) -> None:
        """Nothing changes in hindsight."""
        return

    def outcome(self) -> Mapping[str, float]:
        """See `ToolWorldGrading.outcome`."""
        return self._episode.outcome()
