"""Pools of concurrent episodes, one per slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import gymnasium as gym
from gymnasium.utils import seeding
from gymnasium.wrappers import OrderEnforcing

from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Episode, Transition, step_episodes
from steptool_env.episodes.factory import EpisodeFactory

TextEnv = gym.Env[str, str]


class EpisodePool(Protocol):
    """Concurrent episodes in slots numbered from 0."""

    def reset(self, index: int, task: int, seed: int) -> tuple[str, dict[str, Any]]:
        """Start the episode of `task` in a slot. Return observation and info."""
        ...

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """Take one action per slot of `actions`. Return the transitions in the same order."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class BatchedPool:
    """Episodes of one environment, whose tool calls are sent together in each step."""

    def __init__(self, env: ToolEnv) -> None:
        self._env = env
        self._source = EpisodeFactory(env.suite, env.config)
        self._episodes: dict[int, Episode] = {}

    def reset(self, index: int, task: int, seed: int) -> tuple[str, dict[str, Any]]:
        """See `EpisodePool.reset`."""
        self._episodes[index] = episode = self._source.start(seeding.np_random(seed)[0], {"task": task})
        return episode.prompt()

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """See `EpisodePool.step`."""
        return step_episodes(self._env.client, [(self._episodes[index], action) for index, action in actions.items()])

    def close(self) -> None:
        """See `EpisodePool.close`."""
        self._env.close()


class SeparatePool:
    """One environment per slot, stepped through Gymnasium's interface."""

    def __init__(self, envs: list[TextEnv]) -> None:
        self._envs = envs

    def reset(self, index: int, task: int, seed: int) -> tuple[str, dict[str, Any]]:
        """See `EpisodePool.reset`."""
        return self._envs[index].reset(seed=seed, options={"task": task})

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """See `EpisodePool.step`."""
        return [Transition(*cast(Any, self._envs[index].step(action))) for index, action in actions.items()]

    def close(self) -> None:
        """See `EpisodePool.close`."""
        for env in self._envs:
            env.close()


def make_pool(first: TextEnv, make: Callable[[], TextEnv], count: int) -> EpisodePool:
    """Return a pool of `count` slots.

    Args:
        first: Environment of the first slot.
        make: Makes further environments of the same kind, if they are needed: an environment that overrides `ToolEnv`'s
            `step` or `reset`, or has a wrapper, cannot share its calls with others.
        count: Number of slots.
    """
    inner = first.unwrapped
    if isinstance(inner, ToolEnv) and _has_plain_steps(first):
        return BatchedPool(inner)
    return SeparatePool([first, *(make() for _ in range(count - 1))])


def _has_plain_steps(env: TextEnv) -> bool:
    while type(env) is OrderEnforcing:  # the wrapper that gym.make adds
        env = env.env
    return type(env).step is ToolEnv.step and type(env).reset is ToolEnv.reset
