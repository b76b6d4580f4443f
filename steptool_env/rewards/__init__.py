"""Reward kinds: how the steps of an episode are paid."""

from __future__ import annotations

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
    """The reward kind of that name, or `module:factory`, built with `options`.

    The kinds `steptool` and `final` ask a judge, named by `judge="rules"`; every other option goes to that judge.

    Raises:
        ConfigurationError: the name or an option is unknown; the message lists what is valid.
    """
    return REWARDS.make(name, **options)
