"""Vector environments of text for rollouts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

import steptool_env  # noqa: F401  registers the environments
from agents.errors import ConfigurationError
from agents.rollout.config import EnvConfig

TextEnvs = VectorEnv[Any, Any, Any]


def make_envs(config: EnvConfig) -> TextEnvs:
    """Return the vector environment of a run, in `AutoresetMode.DISABLED`.

    Raises:
        ConfigurationError: The id is unknown, or the environment does not take these arguments.
    """
    arguments = {**config.args, **({"reward": config.reward} if config.reward else {})}
    try:
        envs = gym.make_vec(
            config.id,
            num_envs=config.num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode=AutoresetMode.DISABLED,
            **arguments,
        )
    except (gym.error.Error, TypeError) as error:
        raise ConfigurationError(f"env.id={config.id}, env.args={arguments}: {error}") from error
    return envs
