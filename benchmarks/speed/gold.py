"""Episodes whose calls are given, whatever a policy writes: so contestants with fresh weights do the same work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper

from agents.baselines.toolworld import OracleAgent
from agents.rollout.vector_env import make_envs
from agents.training.config import EnvConfig
from benchmarks.speed.episodes import Script, record

ENV_ID = "StepTool/ToolWorld-v0"
_TRIED = 64  # tasks looked at for each one that is wanted


class Workload(NamedTuple):
    """Episodes to be played.

    Attributes:
        scripts: Tasks of ToolWorld whose gold solution has as many actions as all the others', `copies` of each.
        turns: Actions of an episode.
        copies: Episodes of one task: a group.
        prompts: The chat messages that each episode opens with.
        arguments: Of the environment.
    """

    scripts: Sequence[Script]
    turns: int
    copies: int
    prompts: Sequence[list[dict[str, str]]]
    arguments: Mapping[str, Any]

    def texts(self) -> list[str]:
        """Everything that is said in prompts and actions."""
        said = [message["content"] for prompt in self.prompts for message in prompt]
        return said + [action for script in self.scripts for action in script.actions]


def make_workload(episodes: int, turns: int = 4, copies: int = 2, level: str = "lite") -> Workload:
    """Episodes of `turns` actions each. Raises `ValueError` when there are not enough such tasks."""
    arguments: dict[str, Any] = {"level": level, "prompt": "compact"}
    found = (each for each in record(ENV_ID, arguments, OracleAgent(), _TRIED * episodes) if len(each.actions) == turns)
    tasks = list(islice(found, episodes // copies))
    if len(tasks) < episodes // copies:
        raise ValueError(f"only {len(tasks)} of {_TRIED * episodes} tasks take {turns} actions; ask for fewer episodes")
    scripts = [script for script in tasks for _ in range(copies)]
    env = gym.make(ENV_ID, **arguments, disable_env_checker=True)
    prompts = [env.reset(options={"task": script.task})[1]["messages"] for script in scripts]
    env.close()
    return Workload(scripts, turns, copies, prompts, arguments)


class GoldEnvs(VectorWrapper):
    """A vector of ToolWorld in which a seed is the number of a script, and the script's actions are what is done."""

    def __init__(self, workload: Workload, num_envs: int) -> None:
        super().__init__(make_envs(EnvConfig(ENV_ID, dict(workload.arguments), num_envs=num_envs)))
        self._scripts = workload.scripts
        self._left: list[Iterator[str]] = [iter(())] * num_envs

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin the scripts whose numbers are the seeds of the masked slots."""
        chosen = [self._scripts[number] for number in seed]
        for slot in np.flatnonzero(options["reset_mask"]):
            self._left[slot] = iter(chosen[slot].actions)
        wanted = {"task": [script.task for script in chosen], "episode_seed": [script.seed for script in chosen]}
        return self.env.reset(options={**options, **wanted})

    def step(self, actions: Sequence[str]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take the next action of each script; `actions` are read by nobody."""
        del actions
        return self.env.step(tuple(next(left) for left in self._left))
