"""Protocols of reward functions. `REWARDS` in the package registers them by name; see docs/extending.md."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from steptool_env.types import Step, Task


class StepReward(NamedTuple):
    """Reward of one step and its named terms."""

    reward: float
    terms: Mapping[str, float]


class EpisodeScorer(Protocol):
    """Scores one episode. The result must be a deterministic function of the task and the steps so far.

    An environment restores a snapshot with a new scorer that scores the recorded steps again.
    """

    def score(self, step: Step) -> StepReward:
        """Return the reward of the latest step. Called once per step, in order."""

    def hindsight(self) -> tuple[StepReward, ...] | None:
        """Return, after the last step, the final reward and terms of every step; `None` if nothing changes.

        Some terms (such as the contribution to the final answer) are known only then. Shape: (steps,). The rewards
        become `info["step_rewards"]` and `Trajectory.rewards`, the terms those of the trajectory's steps.
        """

    def outcome(self) -> Mapping[str, float]:
        """Return, after the last step, the outcome, e.g. `{"is_solved": 1.0}`.

        `is_solved` is required: 1 solved, 0.5 unsure, 0 unsolved.
        """


class RewardFunction(Protocol):
    """Creates the scorer of an episode."""

    def start(self, task: Task) -> EpisodeScorer:
        """Return a new scorer for one episode of `task`."""
