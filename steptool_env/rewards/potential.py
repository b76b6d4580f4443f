"""Potential-based shaping: pays progress early without changing which policy is best."""

from __future__ import annotations

from collections.abc import Mapping

from steptool_env.errors import ConfigurationError
from steptool_env.rewards.base import StepReward
from steptool_env.toolworld.reward_truth import ToolWorldGrading
from steptool_env.types import Step, Task


class PotentialReward:
    """`is_solved` at the end, plus `gamma * Phi(s') - Phi(s)` at every step (Ng, Harada and Russell 1999).

    `Phi` is `scale` times the share of needed calls that are done (0 where no call is needed); it is 0 in the first
    state and, by definition, after the end. So the shaping terms of an episode sum to 0 when discounted with `gamma`,
    and the order of all policies is that of the final reward. That an episode ended without `Finish` (at its budget, or
    with a full context) is known only afterwards: `hindsight` then takes the potential of the last state back.

    Args:
        gamma: The learner's discount factor, above 0 and at most 1.
        scale: The potential of an episode with every needed call done.

    Raises:
        ConfigurationError: `gamma` is out of range.
    """

    def __init__(self, gamma: float = 1.0, scale: float = 1.0) -> None:
        if not 0 < gamma <= 1:
            raise ConfigurationError(f"gamma={gamma!r}: must be above 0 and at most 1")
        self.gamma = gamma
        self.scale = scale

    def start(self, task: Task) -> PotentialScorer:
        """A fresh scorer for one episode of `task`, which must be ToolWorld's."""
        return PotentialScorer(task, self.gamma, self.scale)


class PotentialScorer:
    """Scores one episode by the final reward and the change of potential."""

    def __init__(self, task: Task, gamma: float, scale: float) -> None:
        self._episode = ToolWorldGrading(task)
        self._gamma = gamma
        self._scale = scale if self._episode.tracker.milestones else 0.0
        self._potential = 0.0
        self._scored: list[StepReward] = []

    def score(self, step: Step) -> StepReward:
        """The reward of `step`, with the terms `potential` and, at the end, `is_solved`."""
        self._episode.observe(step)
        after = 0.0 if step.finished else self._scale * self._episode.tracker.progress
        shaping = self._gamma * after - self._potential
        self._potential = after
        if step.finished:
            solved = float(self._episode.grade.solved)
            scored = StepReward(solved + shaping, {"potential": shaping, "is_solved": solved})
        else:
            scored = StepReward(shaping, {"potential": shaping})
        self._scored.append(scored)
        return scored

    def hindsight(self) -> tuple[StepReward, ...] | None:
        """The rewards of an episode that ended without `Finish`: the potential of its last state is 0."""
        if not self._potential:
            return None
        *before, (reward, _) = self._scored
        reward -= self._gamma * self._potential
        return (*before, StepReward(reward, {"potential": reward}))

    def outcome(self) -> Mapping[str, float]:
        """See `ToolWorldGrading.outcome`."""
        return self._episode.outcome()
