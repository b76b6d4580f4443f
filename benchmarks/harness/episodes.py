"""Scripted episodes, for timing an environment without an agent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate
from benchmarks.harness.timing import Lap

Env = gym.Env[str, str]
Envs = VectorEnv[Any, Any, Any]


class Script(NamedTuple):
    """One episode: task, seed, and all actions."""

    task: str
    seed: int
    actions: tuple[str, ...]


class Played(NamedTuple):
    """Number of episodes and steps (in a vector environment one per slot), and seconds in `step` and `reset`."""

    episodes: int
    steps: int
    step_seconds: float
    reset_seconds: float

    @property
    def stepping(self) -> Lap:
        """Steps without resets."""
        return Lap(self.steps, self.step_seconds)

    @property
    def whole(self) -> Lap:
        """Steps with the time of the resets."""
        return Lap(self.steps, self.step_seconds + self.reset_seconds)


def record(env_id: str, arguments: Mapping[str, Any], agent: Agent, episodes: int | None) -> list[Script]:
    """Record the actions of an agent in the first tasks of an environment (`None`: all), with tools in this process."""
    trajectories = evaluate(Evaluation(env_id, arguments, episodes, slots=1), agent)
    return [
        Script(each.task.id, each.metadata["episode_seed"], tuple(step.action.text for step in each.steps))
        for each in trajectories
    ]


def play(env: Env, scripts: Sequence[Script]) -> Played:
    """Play every script once."""
    return play_with(
        lambda script: env.reset(options={"task": script.task, "episode_seed": script.seed}), env.step, scripts
    )


def play_with(reset: Callable[[Script], object], step: Callable[[str], object], scripts: Sequence[Script]) -> Played:
    """Play every script once, by functions that start an episode and take an action."""
    steps, stepping, resetting = 0, 0.0, 0.0
    for script in scripts:
        begin = perf_counter()
        reset(script)
        begun = perf_counter()
        for action in script.actions:
            step(action)
        stepping += perf_counter() - begun
        resetting += begun - begin
        steps += len(script.actions)
    return Played(len(scripts), steps, stepping, resetting)


def make_vector(env_id: str, arguments: Mapping[str, Any], slots: int) -> Envs:
    """Return a vector environment in `AutoresetMode.DISABLED`."""
    return gym.make_vec(
        env_id, slots, vectorization_mode="vector_entry_point", autoreset_mode=AutoresetMode.DISABLED, **arguments
    )


def play_vector(envs: Envs, scripts: Iterator[Script], steps: int) -> Played:
    """Play scripts in all slots of a vector environment in `AutoresetMode.DISABLED`, at least `steps` steps in total.

    A slot whose episode has ended starts the next script.
    """
    slots: list[Iterator[str]] = [iter(())] * envs.num_envs
    episodes, taken, stepping, resetting = 0, 0, 0.0, 0.0
    over = np.ones(envs.num_envs, dtype=np.bool_)
    while taken < steps:
        if over.any():
            options = _next_scripts(over, slots, scripts)
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


def _next_scripts(over: np.ndarray[Any, Any], slots: list[Iterator[str]], waiting: Iterator[Script]) -> dict[str, Any]:
    """Assign the next script to each slot in `over`. Return the options of the reset."""
    tasks: list[str | None] = [None] * len(slots)
    seeds: list[int | None] = [None] * len(slots)
    for slot in np.flatnonzero(over):
        script = next(waiting)
        tasks[slot], seeds[slot], slots[slot] = script.task, script.seed, iter(script.actions)
    return {"reset_mask": over, "task": tasks, "episode_seed": seeds}
