"""Training of Stable-Baselines3's PPO and sb3-contrib's MaskablePPO on the numeric form of ToolWorld."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv

import steptool_env  # noqa: F401  registers the environments
from agents.errors import CheckpointError, ConfigurationError
from agents.sb3.agent import CandidateAgent, stack
from agents.sb3.config import SB3Settings
from agents.sb3.policy import MaskableScoringPolicy, ScoringPolicy
from steptool_env.discrete import CandidateView

ENV_ID = "StepTool/ToolWorldDiscrete-v0"
_ALGORITHMS: Mapping[str, tuple[Any, Any]] = {
    "maskable-ppo": (MaskablePPO, MaskableScoringPolicy),
    "ppo": (PPO, ScoringPolicy),
}
OnRollout = Callable[[int, float], None]
"""Called at the start and after every update with the environment steps so far and the mean return of the last 100
episodes (nan before the first)."""


def train(settings: SB3Settings, on_rollout: OnRollout = lambda _steps, _return: None) -> BaseAlgorithm:
    """Train a policy, the same for equal settings on one machine. Raises `ConfigurationError` for wrong `env_args`."""
    algorithm, policy = _ALGORITHMS[settings.algorithm]
    try:
        envs = DummyVecEnv([lambda: Monitor(gym.make(ENV_ID, **settings.env_args))] * settings.num_envs)
    except TypeError as error:
        raise ConfigurationError(f"env_args={dict(settings.env_args)}: {error}") from error
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for a network this small, a second thread costs more than it saves
    try:
        model: BaseAlgorithm = algorithm(
            policy,
            envs,
            n_steps=settings.n_steps,
            batch_size=settings.batch_size,
            n_epochs=settings.n_epochs,
            learning_rate=LinearSchedule(settings.learning_rate, 0.0, 1.0),
            ent_coef=settings.ent_coef,
            seed=settings.seed,
            device="cpu",
        )
        model.learn(settings.total_steps, callback=_Rollouts(on_rollout))
        return model
    finally:
        torch.set_num_threads(threads)
        envs.close()


def load(path: str | Path) -> BaseAlgorithm:
    """Load a saved policy of either algorithm. The file is unpickled: load only trusted files.

    Raises:
        CheckpointError: There is no such file, or it holds no policy of the two algorithms.
    """
    if not Path(path).exists():
        raise CheckpointError(f"{path}: no such file; `steptool sb3 --out DIR` writes DIR/model.zip")
    try:
        data, _, _ = load_from_zip_file(path, load_data=True)
    except (OSError, BadZipFile, ValueError) as error:
        raise CheckpointError(f"{path}: no policy of Stable-Baselines3 ({error})") from error
    held = (data or {}).get("policy_class")
    for algorithm, policy in _ALGORITHMS.values():
        if held is policy:
            model: BaseAlgorithm = algorithm.load(path, device="cpu")
            return model
    raise CheckpointError(f"{path}: holds {held}, no policy that `steptool sb3` made")


def agent_of(model: BaseAlgorithm, name: str = "sb3") -> CandidateAgent:
    """Return the agent that takes the policy's most likely candidate in the text environment."""
    predict: Any = model.predict
    masked = isinstance(model, MaskablePPO)

    def choose(views: Sequence[CandidateView], keys: Sequence[tuple[str, int]]) -> list[int]:
        del keys
        masks = {"action_masks": np.stack([view.mask() for view in views])} if masked else {}
        actions, _ = predict(stack(views), deterministic=True, **masks)
        return [int(action) for action in actions]

    return CandidateAgent(name, choose)


def load_agent(path: str) -> CandidateAgent:
    """Return the agent `sb3:PATH` of a saved policy. Raises as `load` does."""
    return agent_of(load(path), f"sb3:{Path(path).stem}")


class _Rollouts(BaseCallback):
    """Callback that reports each rollout after its update."""

    def __init__(self, on_rollout: OnRollout) -> None:
        super().__init__()
        self._on_rollout = on_rollout

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        self._on_rollout(self.num_timesteps, float(np.mean(returns)) if returns else float("nan"))

    _on_training_end = _on_rollout_start
