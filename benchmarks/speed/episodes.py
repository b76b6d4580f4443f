"""Recorded episodes, which are played to time the environment without an agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate
from benchmarks.harness.timing import Lap

Env = gym.Env[str, str]
Envs = VectorEnv[Any, Any, Any]


class Script(NamedTuple):
    """One episode: its task, its seed, and the actions that end it."""

    task: str
    seed: int
    actions: tuple[str, ...]


class Played(NamedTuple):
    """Time of some played episodes.

    Attributes:
        episodes: Number of begun episodes.
        steps: Environment steps; in a vector environment one per slot.
        step_seconds: Seconds inside `step`.
        reset_seconds: Seconds inside `reset`.
    """

    episodes: int
    steps: int
    step_seconds: float
    reset_seconds: float

    @property
    def stepping(self) -> Lap:
        """The steps alone."""
        return Lap(self.steps, self.step_seconds)

    @property
    def whole(self) -> Lap:
        """The steps, with the time of the resets between them."""
        return Lap(self.steps, self.step_seconds + self.reset_seconds)


def record(env_id: str, arguments: Mapping[str, Any], agent: Agent, episodes: int | None) -> list[Script]:
    """The actions of an agent in the first tasks of an environment (`None`: in all), with the tools in this process."""
    trajectories = evaluate(Evaluation(env_id, arguments, episodes, slots=1), agent)
    return [
        Script(each.task.id, each.metadata["episode_seed"], tuple(step.action.text for step in each.steps))
        for each in trajectories
    ]


def play(env: Env, scripts: Sequence[Script]) -> Played:
    """Play every script once."""
    steps, stepping, resetting = 0, 0.0, 0.0
    for script in scripts:
        begin = perf_counter()
        env.reset(options={"task": script.task, "episode_seed": script.seed})
        begun = perf_counter()
        for action in script.actions:
            env.step(action)
        stepping += perf_counter() - begun
        resetting += begun - begin
        steps += len(script.actions)
    return Played(len(scripts), steps, stepping, resetting)


def play_vector(envs: Envs, scripts: Iterator[Script], steps: int) -> Played:
    """Play scripts in all slots of a vector environment in `AutoresetMode.DISABLED`.

    Args:
        envs: A slot whose episode is over begins the next script at once.
        scripts: Source of scripts; there must be enough.
        steps: Environment steps to take at least, over all slots.
    """
    slots: list[Iterator[str]] = [iter(())] * envs.num_envs
    episodes, taken, stepping, resetting = 0, 0, 0.0, 0.0
    over = np.ones(envs.num_envs, dtype=np.bool_)
    while taken < steps:
        if over.any():
            options = _beginnings(over, slots, scripts)
            begin = perf_counter()
            envs.reset(options=options)
            resetting += perf_counter() - begin
            episodes += int(over.sum())
        actions = tuple(next(slot) for slot in slots)
        begin = perf_counter()
        _, _, terminated, truncated, _ = envs.step(actions)
        stepping += perf_counter() - begin
        taken += envs.num_envs
        over = terminated | truncated
    return Played(episodes, taken, stepping, resetting)


def _beginnings(over: np.ndarray[Any, Any], slots: list[Iterator[str]], waiting: Iterator[Script]) -> dict[str, Any]:
    """Give each slot that is over its next script. Returns the options of the reset."""
    tasks: list[str | None] = [None] * len(slots)
    seeds: list[int | None] = [None] * len(slots)
    for slot in np.flatnonzero(over):
        script = next(waiting)
        tasks[slot], seeds[slot], slots[slot] = script.task, script.seed, iter(script.actions)
    return {"reset_mask": over, "task": tasks, "episode_seed": seeds}
