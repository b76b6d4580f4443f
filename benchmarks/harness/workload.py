"""ToolWorld episodes with scripted actions: the same prompts and observations whatever a model writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import gymnasium as gym

from agents.baselines.oracle import OracleAgent
from agents.models.chat_template import Codec
from agents.rollout.collector import EpisodeSpec, Rollout, collect_rollouts
from agents.rollout.engine import RolloutEngine
from agents.rollout.episode_pool import BatchedPool
from benchmarks.harness.episodes import Script, record
from steptool_env.env import ToolEnv
from steptool_env.envs.make import make_env
from steptool_env.episodes.episode import Transition

ENV_ID = "StepTool/ToolWorld-v0"
_TRIED = (1, 8, 64)  # tasks searched per requested episode, until enough of them have the length


class Workload(NamedTuple):
    """Episodes to play.

    Attributes:
        scripts: Gold solutions with equal numbers of actions, `copies` of each.
        turns: Number of actions per episode.
        copies: Number of episodes per task: the group size.
        prompts: Chat messages of each episode's prompt.
        arguments: Arguments of the environment.
    """

    scripts: Sequence[Script]
    turns: int
    copies: int
    prompts: Sequence[list[dict[str, str]]]
    arguments: Mapping[str, Any]

    def texts(self) -> list[str]:
        """Return all texts of prompts and actions."""
        prompts = [message["content"] for prompt in self.prompts for message in prompt]
        return prompts + [action for script in self.scripts for action in script.actions]


def make_workload(episodes: int, turns: int = 4, copies: int = 2, level: str = "lite") -> Workload:
    """Return episodes of `turns` actions each. Raises `ValueError` when there are not enough such tasks."""
    arguments: dict[str, Any] = {"level": level, "prompt": "compact"}
    for tried in _TRIED:
        recorded = record(ENV_ID, arguments, OracleAgent(), tried * episodes)
        tasks = [script for script in recorded if len(script.actions) == turns][: episodes // copies]
        if len(tasks) == episodes // copies:
            break
    else:
        raise ValueError(f"only {len(tasks)} of {tried * episodes} tasks take {turns} actions; ask for fewer episodes")
    scripts = [script for script in tasks for _ in range(copies)]
    env = gym.make(ENV_ID, **arguments, disable_env_checker=True)
    prompts = [env.reset(options={"task": script.task})[1]["messages"] for script in scripts]
    env.close()
    return Workload(scripts, turns, copies, prompts, arguments)


def play_workload(workload: Workload, pool: ScriptedPool, engine: RolloutEngine, codec: Codec) -> Rollout:
    """Play all episodes of a workload once."""
    specs = [EpisodeSpec(number, number // workload.copies) for number in range(len(workload.scripts))]
    return collect_rollouts(pool, engine, codec, specs)


class ScriptedPool(BatchedPool):
    """Pool of ToolWorld episodes that takes a script's actions in place of the given ones.

    The seed of an episode, modulo the number of scripts, is the index of its script.
    """

    def __init__(self, workload: Workload, slots: int) -> None:
        super().__init__(cast(ToolEnv, make_env(ENV_ID, workload.arguments).unwrapped), slots)
        self._scripts = workload.scripts
        self._left: dict[int, Iterator[str]] = {}

    def reset(self, slot: int, seed: int, task: int | None = None) -> tuple[str, dict[str, Any]]:
        """Start the script of `seed` in a slot."""
        del task
        script = self._scripts[seed % len(self._scripts)]
        self._left[slot] = iter(script.actions)
        return self.start(slot, seed, {"task": script.task, "episode_seed": script.seed})

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """Take the next action of each script; ignore those of `actions`."""
        return super().step({slot: next(self._left[slot]) for slot in actions})
