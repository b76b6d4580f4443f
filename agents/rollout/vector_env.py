"""Text environments for training and evaluation, and the evaluation between updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv

import steptool_env  # noqa: F401  registers the environments
from agents.errors import ConfigurationError
from agents.evaluation.results import panel_digest
from agents.models.bundle import PolicyBundle
from agents.rollout.collector import Collector, EpisodeSpec
from agents.rollout.engine import RolloutConfig, RolloutEngine
from agents.rollout.engines import make_engine
from agents.rollout.sampler import Sampling
from agents.seeding import derive
from agents.training.config import EnvConfig
from steptool_env.episodes.factory import EpisodeFactory
from steptool_env.vector import ToolVectorEnv

TextEnvs = VectorEnv[Any, Any, Any]


def make_envs(config: EnvConfig, overrides: Mapping[str, Any] | None = None) -> TextEnvs:
    """The environments of a run, side by side, in `AutoresetMode.DISABLED`.

    Args:
        config: Names them.
        overrides: Arguments in place of those of `config.args`.

    Raises:
        ConfigurationError: No such environment, or it does not take these arguments.
    """
    arguments = {**config.args, **(overrides or {})}
    if config.reward:
        arguments["reward"] = config.reward
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


class PeriodicEvaluation:
    """Plays the same tasks each time it is called. Gives `eval/...` means, as `rollout/...` are defined.

    Args:
        envs: Environments of the evaluation split.
        learner: Its current weights act.
        episodes: Number of tasks.
        sampling: As in training, so that a curve shows what the policy that is trained does.
        seed: Of tasks and samples.
        engine: Samples the actions; without it, the learner does in this process.
    """

    def __init__(
        self,
        envs: TextEnvs,
        learner: PolicyBundle,
        episodes: int,
        sampling: Sampling,
        seed: int,
        engine: RolloutEngine | None = None,
    ) -> None:
        self._engine = engine or make_engine(RolloutConfig(), learner, sampling)
        self._envs = envs.unwrapped
        self._collector = Collector(envs, self._engine, learner.codec)
        self._starts = [EpisodeSpec(derive(seed, "evaluation", index), index) for index in range(episodes)]
        self._seed = derive(seed, "evaluation sampler")

    @property
    def panel(self) -> str:
        """The panel digest of the tasks (see `panel_of`); empty for environments that are not this project's."""
        if not isinstance(self._envs, ToolVectorEnv):
            return ""
        source = EpisodeFactory(self._envs.suite, self._envs.config)
        return panel_digest(source.start(np_random(start.seed)[0], None).task for start in self._starts)

    def __call__(self) -> dict[str, float]:
        """Metrics of the policy as it is now."""
        self._engine.seed(self._seed)
        metrics = self._collector.collect(self._starts).metrics()
        return {name.replace("rollout/", "eval/"): value for name, value in metrics.items()}
