"""Reward functions, by name."""

from typing import Any

from steptool_env.registry import Registry
from steptool_env.rewards.base import EpisodeScorer, RewardFunction, StepReward

__all__ = ["REWARDS", "EpisodeScorer", "RewardFunction", "StepReward", "make_reward"]

REWARDS: Registry[RewardFunction] = Registry(
    "reward",
    {
        "final": "steptool_env.rewards.final:FinalReward",
        "potential": "steptool_env.rewards.potential:PotentialReward",
        "progress": "steptool_env.rewards.progress:ProgressReward",
        "steptool": "steptool_env.rewards.steptool:StepToolReward",
    },
)


def make_reward(name: str, **options: Any) -> RewardFunction:
    """Return the reward function of that name or of `module:factory`, built with `options`.

    `steptool` and `final` use a judge, named by `judge="rules"`; all other options are passed to that judge.

    Raises:
        ConfigurationError: The name or an option is unknown; the message lists valid ones.
    """
    return REWARDS.make(name, **options)
