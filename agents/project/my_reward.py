"""Reward: that of `progress`, minus a cost of every call."""

from collections.abc import Mapping

from steptool_env.errors import ConfigurationError
from steptool_env.options import is_number
from steptool_env.rewards import EpisodeScorer, StepReward, make_reward
from steptool_env.types import Step, Task


class MyReward:
    """Creates the scorer of an episode. Arguments are the keys of `reward_options`."""

    def __init__(self, call_cost: float = 0.01) -> None:
        if not is_number(call_cost, 0):
            raise ConfigurationError(f"call_cost={call_cost!r}: must be a number of at least 0")
        self.call_cost = call_cost
        self._progress = make_reward("progress")

    def start(self, task: Task) -> "MyScorer":
        """Return a new scorer for one episode of `task`."""
        return MyScorer(self._progress.start(task), self.call_cost)


class MyScorer:
    """Scores one episode. The same steps must give the same rewards, since snapshots score them again."""

    def __init__(self, progress: EpisodeScorer, call_cost: float) -> None:
        self._progress = progress
        self._call_cost = call_cost

    def score(self, step: Step) -> StepReward:
        """Return the reward of the latest step, with its terms."""
        reward, terms = self._progress.score(step)
        return StepReward(reward - self._call_cost, {**terms, "call": -self._call_cost})

    def hindsight(self) -> None:
        """Return `None`: no reward changes when the episode has ended."""

    def outcome(self) -> Mapping[str, float]:
        """Return the outcome of the episode, with `is_solved`."""
        return self._progress.outcome()
