"""Pools of concurrent episodes, one per slot."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import gymnasium as gym
from gymnasium.utils import seeding
from gymnasium.wrappers import OrderEnforcing, TimeLimit

from agents.errors import ConfigurationError
from agents.rollout.config import EnvConfig
from steptool_env.client import LocalToolClient
from steptool_env.env import ToolEnv
from steptool_env.envs.make import make_env
from steptool_env.episodes.episode import Episode, Transition, step_episodes
from steptool_env.episodes.factory import EpisodeFactory

TextEnv = gym.Env[str, str]


class EpisodePool(Protocol):
    """Concurrent episodes in `slots` slots, numbered from 0.

    Attributes:
        slots: Number of slots.
        waits: True when a step may wait for a server.
    """

    slots: int
    waits: bool

    def reset(self, slot: int, seed: int, task: int | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode in a slot: of the task of index `task`, by default of the one that the seed draws.

        Return observation and info.
        """

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """Take one action per slot of `actions`. Return the transitions in the same order."""

    def truncate(self, slot: int) -> dict[str, Any]:
        """End a slot's episode. Return its last info, empty for an environment without `truncate`."""

    def abort(self, slot: int, reason: str) -> Transition:
        """End a slot's episode because the agent failed. Return the last transition.

        Its trajectory has the reason as `transport_error`, which excludes it from metrics, and as `agent_error`.
        """

    def fork(self, source: int, target: int) -> None:
        """Copy the episode of slot `source` to slot `target`: equal actions there give equal results.

        Raises:
            ConfigurationError: The environment has no `snapshot` and `restore`.
        """

    def close(self) -> None:
        """Close the environments."""


class BatchedPool:
    """Episodes of one environment, whose tool calls are sent together in each step."""

    def __init__(self, env: ToolEnv, slots: int) -> None:
        self.slots = slots
        self.waits = not isinstance(env.client, LocalToolClient)
        self._env = env
        self._source = EpisodeFactory(env.suite, env.config)
        self._episodes: dict[int, Episode] = {}

    def reset(self, slot: int, seed: int, task: int | None = None) -> tuple[str, dict[str, Any]]:
        """See `EpisodePool.reset`."""
        return self.start(slot, seed, {"task": task})

    def start(self, slot: int, seed: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Start an episode with the options of `ToolEnv.reset`."""
        self._episodes[slot] = episode = self._source.start(seeding.np_random(seed)[0], options)
        return episode.prompt()

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """See `EpisodePool.step`."""
        return step_episodes(self._env.client, [(self._episodes[slot], action) for slot, action in actions.items()])

    def truncate(self, slot: int) -> dict[str, Any]:
        """See `EpisodePool.truncate`."""
        return self._episodes[slot].truncate()

    def abort(self, slot: int, reason: str) -> Transition:
        """See `EpisodePool.abort`."""
        return _abort(self._episodes[slot], reason)

    def fork(self, source: int, target: int) -> None:
        """See `EpisodePool.fork`."""
        self._episodes[target] = self._source.restore(self._source.record(self._episodes[source]))

    def close(self) -> None:
        """See `EpisodePool.close`."""
        self._env.close()


class SeparatePool:
    """One environment per slot, stepped through Gymnasium's interface."""

    waits = False

    def __init__(self, envs: list[TextEnv]) -> None:
        self.slots = len(envs)
        self._envs = envs
        self._begun: set[int] = set()

    def reset(self, slot: int, seed: int, task: int | None = None) -> tuple[str, dict[str, Any]]:
        """See `EpisodePool.reset`."""
        self._begun.add(slot)
        return self._envs[slot].reset(seed=seed, options=None if task is None else {"task": task})

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """See `EpisodePool.step`."""
        return [Transition(*cast(Any, self._envs[slot].step(action))) for slot, action in actions.items()]

    def truncate(self, slot: int) -> dict[str, Any]:
        """See `EpisodePool.truncate`."""
        env = self._envs[slot]  # a wrapper may have its own: one that records episodes
        return env.get_wrapper_attr("truncate")() if env.has_wrapper_attr("truncate") else {}

    def abort(self, slot: int, reason: str) -> Transition:
        """See `EpisodePool.abort`."""
        return _abort(cast(ToolEnv, self._envs[slot].unwrapped).episode, reason)

    def fork(self, source: int, target: int) -> None:
        """See `EpisodePool.fork`."""
        of, to = (cast(Any, self._envs[slot].unwrapped) for slot in (source, target))
        if not hasattr(of, "snapshot") or not hasattr(of, "restore"):
            raise ConfigurationError(
                f"env.id: {type(of).__name__} cannot be forked; give it `snapshot()` and `restore(snapshot)` as "
                "`ToolEnv` has them, or choose an algorithm without forks"
            )
        if target not in self._begun:  # wrappers take no step before a reset
            self.reset(target, 0)
        to.restore(of.snapshot())
        for limit, other in zip(*(_time_limits(self._envs[slot]) for slot in (source, target)), strict=True):
            other._elapsed_steps = limit._elapsed_steps

    def close(self) -> None:
        """See `EpisodePool.close`."""
        for env in self._envs:
            env.close()


def _time_limits(env: TextEnv) -> list[Any]:
    """Return the wrappers that count the steps of an episode, as `max_episode_steps` of a registration adds one."""
    found: list[Any] = []
    each: Any = env
    while isinstance(each, gym.Wrapper):
        found += [each] if isinstance(each, TimeLimit) else []
        each = each.env
    return found


def _abort(episode: Episode, reason: str) -> Transition:
    last = episode.abort(reason)
    trajectory = last.info["trajectory"]
    trajectory = replace(trajectory, metadata={**trajectory.metadata, "agent_error": reason})
    return last._replace(info={**last.info, "trajectory": trajectory})


def open_pool(config: EnvConfig) -> EpisodePool:
    """Return the pool of a training run. Raises `ConfigurationError` as `make_env` does."""
    arguments = {**config.args, **({"reward": config.reward} if config.reward else {})}
    return make_pool(lambda: make_env(config.id, arguments, "env.id"), config.num_envs)


def make_pool(make: Callable[[], TextEnv], slots: int, first: TextEnv | None = None) -> EpisodePool:
    """Return a pool of `slots` slots.

    `make` makes its environments, after `first`. One is enough for `ToolEnv`; one that overrides `step` or `reset` of
    it, or has a wrapper, cannot share its calls with others.
    """
    first = first or make()
    inner = first.unwrapped
    if isinstance(inner, ToolEnv) and _has_plain_steps(first):
        return BatchedPool(inner, slots)
    return SeparatePool([first, *(make() for _ in range(slots - 1))])


def _has_plain_steps(env: TextEnv) -> bool:
    while type(env) is OrderEnforcing:  # the wrapper that gym.make adds
        env = env.env
    return type(env).step is ToolEnv.step and type(env).reset is ToolEnv.reset
