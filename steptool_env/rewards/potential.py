"""Potential-based reward shaping: early reward for progress that keeps the optimal policy."""

from collections.abc import Mapping
from math import inf

from steptool_env.errors import ConfigurationError
from steptool_env.options import is_number
from steptool_env.rewards.base import EpisodeScorer, StepReward
from steptool_env.rewards.graded import start_grading
from steptool_env.types import Step, Task


class PotentialReward:
    """`is_solved` at the end, plus `gamma * Phi(s') - Phi(s)` at every step (Ng, Harada and Russell 1999).

    `Phi` is `scale` times the share of needed calls that are done (0 if none is needed); it is 0 in the first state
    and after the end. The discounted shaping terms of an episode therefore sum to 0, and policies keep the order of
    the final reward. `hindsight` subtracts the potential of the last state if the episode ended without `Finish`.

    Args:
        gamma: Discount factor of the learner, in (0, 1].
        scale: Potential when all needed calls are done.

    Raises:
        ConfigurationError: An option is no number, or `gamma` is out of range.
    """

    def __init__(self, gamma: float = 1.0, scale: float = 1.0) -> None:
        if not is_number(gamma, 0, 1) or gamma == 0:
            raise ConfigurationError(f"gamma={gamma!r}: must be a number above 0 and at most 1")
        if not is_number(scale, -inf):
            raise ConfigurationError(f"scale={scale!r}: must be a finite number")
        self.gamma = gamma
        self.scale = scale

    def start(self, task: Task) -> EpisodeScorer:
        """Return a new scorer for one episode of `task`, see `start_grading`."""
        return PotentialScorer(task, self.gamma, self.scale)


class PotentialScorer:
    """Scores one episode by the final reward and the change of potential."""

    def __init__(self, task: Task, gamma: float, scale: float) -> None:
        self._episode = start_grading(task)
        self._gamma = gamma
        self._scale = scale if self._episode.needed else 0.0
        self._potential = 0.0
        self._scored: list[StepReward] = []

    def score(self, step: Step) -> StepReward:
        """Return the reward of `step`, with the terms `potential` and, at the end, `is_solved`."""
        self._episode.observe(step)
        after = 0.0 if step.finished else self._scale * self._episode.progress
        shaping = self._gamma * after - self._potential
        self._potential = after
        if step.finished:
            solved = float(self._episode.solved)
            scored = StepReward(solved + shaping, {"potential": shaping, "is_solved": solved})
        else:
            scored = StepReward(shaping, {"potential": shaping})
        self._scored.append(scored)
        return scored

    def hindsight(self) -> tuple[StepReward, ...] | None:
        """Return the rewards of an episode that ended without `Finish`; `None` for others."""
        if not self._potential:
            return None
        *before, (reward, _) = self._scored
        reward -= self._gamma * self._potential
        return (*before, StepReward(reward, {"potential": reward}))

    def outcome(self) -> Mapping[str, float]:
        """See `EpisodeGrading.outcome`."""
        return self._episode.outcome()
