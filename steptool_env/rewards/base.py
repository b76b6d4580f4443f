"""How an episode is scored, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from steptool_env.types import Step, Task


class StepReward(NamedTuple):
    """The reward of one step and the named terms that it is made of."""

    reward: float
    terms: Mapping[str, float]


class EpisodeScorer(Protocol):
    """Scores one episode. It is a deterministic function of the task and the steps seen so far.

    So an environment restores a snapshot by starting anew and scoring the recorded steps again.
    """

    def score(self, step: Step) -> StepReward:
        """The reward of `step`, the latest of the episode; called once per step, in order."""
        ...

    def hindsight(self) -> tuple[StepReward, ...] | None:
        """After the last step: the final reward and terms of every step, or `None` when nothing changes.

        Some terms (a contribution to the final answer) are known only then. Shape: (steps,). The rewards
        become `info["step_rewards"]` and `Trajectory.rewards`, the terms those of the trajectory's steps.
        """
        ...

    def outcome(self) -> Mapping[str, float]:
        """After the last step: what the episode achieved, e.g. `{"is_solved": 1.0}`.

        `is_solved` is always there: 1 solved, 0.5 unsure, 0 unsolved.
        """
        ...


class RewardFunction(Protocol):
    """Makes the scorer of an episode."""

    def start(self, task: Task) -> EpisodeScorer:
        """A fresh scorer for one episode of `task`."""
        ...
