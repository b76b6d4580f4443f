"""Which settings of a training run cannot work, alone or together. Each check names the fields and what to do.

All raise `ConfigurationError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.errors import ConfigurationError
from agents.models.config import ValueTrunk
from agents.rollout.config import RolloutConfig, Sampling
from agents.training.archer.critic import StepCriticConfig
from agents.training.presets import AlgorithmConfig


def check_at_least(least: int, names: Sequence[str], numbers: Mapping[str, Any], prefix: str = "") -> None:
    """None of these numbers is below what it can mean."""
    for name in names:
        if not numbers[name] >= least:  # so that nan is refused too
            raise ConfigurationError(f"{prefix}{name}={numbers[name]} must be {least} or more")


def check_critic(algorithm: AlgorithmConfig, value_trunk: ValueTrunk, *, shard: bool) -> None:
    """The estimator finds the critic that it needs, and no other."""
    if algorithm.advantage in ("step_gae", "released") and value_trunk == "none":
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs a critic; set policy.value_trunk")
    if algorithm.advantage == "step_critic" and value_trunk != "none":
        raise ConfigurationError(
            "algorithm.advantage=step_critic brings a critic of its own and has no use for a value head; set "
            "policy.value_trunk=none"
        )
    if algorithm.critic_epochs and (value_trunk != "detached" or shard):
        raise ConfigurationError(
            f"algorithm.critic_epochs={algorithm.critic_epochs} needs policy.value_trunk=detached and no shard"
        )


def check_groups(algorithm: AlgorithmConfig, episodes: int) -> None:
    """There are groups where the estimator compares their members, and an iteration's episodes make whole ones."""
    if algorithm.advantage in ("rloo", "grpo", "step_grpo", "gigpo") and algorithm.group_size < 2:
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs algorithm.group_size of 2 or more")
    if episodes % algorithm.group_size:
        raise ConfigurationError(
            f"episodes={episodes} must be a multiple of algorithm.group_size={algorithm.group_size}"
        )


def check_sharding(*, shard: bool, compiled: bool, engine: str) -> None:
    """Nothing keeps hold of weights that are there for a while only."""
    if shard and (compiled or engine == "static"):
        raise ConfigurationError(
            "shard=True goes with neither policy.compile nor rollout.engine=static: both keep hold of weights that "
            "come and go"
        )


def check_sampling(sampling: Sampling) -> None:
    """Each token's probability is the one that it was drawn with."""
    if sampling.top_p < 1 or sampling.temperature <= 0:
        raise ConfigurationError(
            "training needs sampling.top_p=1 and sampling.temperature>0: the gradient needs the probability that "
            "each token was drawn with"
        )


def check_step_critic(config: StepCriticConfig) -> None:
    """Every number is in its range."""
    for name in ("replay_steps", "updates", "batch_steps"):
        if getattr(config, name) < 1:
            raise ConfigurationError(f"step_critic.{name}={getattr(config, name)} must be 1 or more")
    if not 0 < config.tau <= 1:
        raise ConfigurationError(f"step_critic.tau={config.tau} must be above 0 and at most 1")
    if not 0 < config.expectile < 1:
        raise ConfigurationError(f"step_critic.expectile={config.expectile} must be between 0 and 1")


def check_rollout(rollout: RolloutConfig, algorithm: AlgorithmConfig) -> None:
    """A server can be asked and given weights, and the algorithm can learn from the weights that it has."""
    if rollout.sync_every < 1 or rollout.concurrency < 1:
        raise ConfigurationError("rollout.sync_every and rollout.concurrency must be at least 1")
    if rollout.engine != "http":
        return
    if not rollout.url.startswith(("http://", "https://")) or not rollout.weights_dir:
        raise ConfigurationError(
            "rollout.engine=http needs rollout.url, like http://127.0.0.1:8000, and rollout.weights_dir, a folder that "
            "the server sees under the same path"
        )
    if rollout.sync_every > 1 and (algorithm.loss != "ppo" or algorithm.advantage == "step_critic"):
        raise ConfigurationError(
            f"rollout.sync_every={rollout.sync_every} trains on episodes of older weights, which only "
            "algorithm.loss=ppo corrects, by its probability ratio; a step critic asks the policy as it is"
        )
