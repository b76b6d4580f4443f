"""Checks of settings, alone and in combination. Each error names the field and the remedy.

All checks raise `ConfigurationError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.errors import ConfigurationError
from agents.models.config import CriticKind
from agents.rollout.config import RolloutConfig, Sampling
from agents.training.settings import CRITIC_ESTIMATORS, ESTIMATORS, GROUP_ESTIMATORS, AlgorithmConfig


def check_at_least(least: int, names: Sequence[str], numbers: Mapping[str, Any], prefix: str = "") -> None:
    """Check that numbers are not below a minimum."""
    for name in names:
        if not numbers[name] >= least:  # also refuses nan
            raise ConfigurationError(f"{prefix}{name}={numbers[name]} must be {least} or more")


def check_estimator(name: str) -> None:
    """Check the name of an estimator. `module:factory` is resolved when training starts."""
    if name not in ESTIMATORS.names() and ":" not in name:
        raise ConfigurationError(
            f"algorithm.advantage={name!r} is unknown: give one of {', '.join(ESTIMATORS.names())} or 'module:factory'"
        )


def check_critic(algorithm: AlgorithmConfig, critic: CriticKind, *, shard: bool) -> None:
    """Check that the policy has the critic that the estimator needs."""
    if algorithm.advantage in CRITIC_ESTIMATORS and critic == "none":
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs a critic; set policy.critic")
    if algorithm.advantage == "step_critic" and critic != "none":
        raise ConfigurationError(
            "algorithm.advantage=step_critic has its own critic and does not use a value head; set policy.critic=none"
        )
    if algorithm.critic_epochs and (critic != "detached" or shard):
        raise ConfigurationError(
            f"algorithm.critic_epochs={algorithm.critic_epochs} needs policy.critic=detached and no shard"
        )


def check_groups(algorithm: AlgorithmConfig, episodes: int) -> None:
    """Check the group size against the estimator and the episodes of an iteration."""
    if algorithm.advantage in GROUP_ESTIMATORS and algorithm.group_size < 2:
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs algorithm.group_size of 2 or more")
    if episodes % algorithm.group_size:
        raise ConfigurationError(
            f"episodes={episodes} must be a multiple of algorithm.group_size={algorithm.group_size}"
        )


def check_sharding(*, shard: bool, compiled: bool, engine: str) -> None:
    """Check that sharded weights are not compiled and not read by CUDA graphs."""
    if shard and (compiled or engine == "static"):
        raise ConfigurationError("shard=True is incompatible with policy.compile and rollout.engine=static")


def check_sampling(sampling: Sampling) -> None:
    """Check that actions are sampled from the policy's own distribution."""
    if sampling.top_p < 1 or sampling.temperature <= 0:
        raise ConfigurationError(
            "training needs sampling.top_p=1 and sampling.temperature>0: the gradient needs the probability that "
            "each token was drawn with"
        )


def check_rollout(rollout: RolloutConfig, algorithm: AlgorithmConfig) -> None:
    """Check the address of a server, and that the algorithm can train on episodes of older weights."""
    if rollout.sync_every < 1 or rollout.concurrency < 1:
        raise ConfigurationError("rollout.sync_every and rollout.concurrency must be at least 1")
    if rollout.engine != "http":
        return
    if not rollout.url.startswith(("http://", "https://")) or not rollout.weights_dir:
        raise ConfigurationError(
            "rollout.engine=http needs rollout.url, like http://127.0.0.1:8000, and rollout.weights_dir, a folder that "
            "the server sees under the same path"
        )
    if rollout.sync_every > 1 and algorithm.advantage == "step_critic":
        raise ConfigurationError(
            f"rollout.sync_every={rollout.sync_every} trains on episodes of older weights; a step critic needs actions "
            "of the current policy"
        )
