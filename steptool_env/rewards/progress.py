"""Default reward of benchmarks with reference solutions: progress is rewarded once, needless calls never are."""

from collections.abc import Mapping

from steptool_env.errors import ConfigurationError
from steptool_env.options import is_number
from steptool_env.rewards.base import EpisodeScorer, StepReward
from steptool_env.rewards.graded import start_grading
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import Provenance


class ProgressReward:
    """Reward for the first success of every needed call and for the right answer, in total 1.

    With n needed calls, the first success of each pays `share / n`, with any offered API. A right end pays what is
    missing to 1, so a perfect episode has return 1 at any depth, and so has one that finds the answer in another way.
    A wrong end pays 0. Every other call (repeated, needless or invalid) costs `cost`, except a call that failed by an
    injected fault, a page of a needed list, and in tau2 a check whose answer is new. Needless calls therefore never
    raise the return.

    Args:
        share: Total reward of the needed calls, 0 to 1.
        cost: Cost of a call without progress, at least 0.

    Raises:
        ConfigurationError: An option is out of range.
    """

    def __init__(self, share: float = 0.5, cost: float = 0.02) -> None:
        if not is_number(share, 0, 1):
            raise ConfigurationError(f"share={share!r}: must be a number from 0 to 1")
        if not is_number(cost, 0):
            raise ConfigurationError(f"cost={cost!r}: must be a number of at least 0")
        self.share = share
        self.cost = cost

    def start(self, task: Task) -> EpisodeScorer:
        """Return a new scorer for one episode of `task`, see `start_grading`."""
        return ProgressScorer(task, self.share, self.cost)


class ProgressScorer:
    """Scores one episode by its progress."""

    def __init__(self, task: Task, share: float, cost: float) -> None:
        self._episode = start_grading(task)
        self._unit = share / max(1, self._episode.needed)
        self._cost = cost
        self._earned = 0.0

    def score(self, step: Step) -> StepReward:
        """Return the reward of `step`, with the terms `progress`, `cost` and, at the end, `is_solved`."""
        observed = self._episode.observe(step)
        if step.finished:
            solved = float(self._episode.solved)
            reward = (1.0 - self._earned) * solved
            return StepReward(reward, {"progress": 0.0, "cost": 0.0, "is_solved": solved})
        progress = self._unit * len(observed.done)
        self._earned += progress
        spared = observed.useful or step.provenance is Provenance.INJECTED
        cost = 0.0 if spared else self._cost
        return StepReward(progress - cost, {"progress": progress, "cost": 0.0 - cost})

    def hindsight(self) -> None:
        """Return `None`: nothing changes in hindsight."""
        return

    def outcome(self) -> Mapping[str, float]:
        """See `EpisodeGrading.outcome`."""
        return self._episode.outcome()
