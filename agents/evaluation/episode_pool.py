"""Episodes side by side, one in each slot."""

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
    """Where episodes run; slots are numbered from 0."""

    def reset(self, index: int, task: int, seed: int) -> tuple[str, dict[str, Any]]:
        """Start the episode of `task` in a slot. Returns observation and info."""
        ...

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """Take one action in each of these slots. Returns what came of them, in their order."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class SharedSlots:
    """Episodes of one environment, as it would play them one by one, but with one exchange with the tools per step."""

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


class SeparateSlots:
    """An environment for each slot, stepped through Gymnasium's interface alone."""

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


def make_slots(first: TextEnv, make: Callable[[], TextEnv], count: int) -> EpisodePool:
    """`count` slots that begin with `first`; `make` gives further environments of its kind where they are needed.

    An environment whose steps are not `ToolEnv`'s own (it overrides them, or a wrapper takes part in them) is stepped
    by itself.
    """
    inner = first.unwrapped
    if isinstance(inner, ToolEnv) and _steps_as_tool_env(first):
        return SharedSlots(inner)
    return SeparateSlots([first, *(make() for _ in range(count - 1))])


def _steps_as_tool_env(env: TextEnv) -> bool:
    while type(env) is OrderEnforcing:  # what gym.make puts around every environment
        env = env.env
    return type(env).step is ToolEnv.step and type(env).reset is ToolEnv.reset
