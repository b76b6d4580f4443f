"""Runs an agent through the tasks of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym

from agents.base import Agent
from steptool_env.env import ToolEnv
from steptool_env.errors import ConfigurationError
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Evaluation:
    """What is run: which tasks, in which environment.

    Attributes:
        env_id: The environment's id, e.g. `StepTool/ToolWorld-v0`.
        env_kwargs: Arguments of `gym.make`.
        episodes: Number of tasks, taken in the suite's order; all of them where the suite has fewer.
        slots: Episodes side by side; the agent decides for all of them at once.
        seed: Seeds each episode together with its index, so results do not depend on `slots`.
    """

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 100
    slots: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("episodes", "slots"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be at least 1")


@dataclass
class _Slot:
    """One environment and where its episode stands."""

    env: gym.Env[str, str]
    episode: int = -1
    observation: str = ""
    info: dict[str, Any] = field(default_factory=dict)


def evaluate(
    evaluation: Evaluation,
    agent: Agent,
    on_episode: Callable[[Trajectory], None] = lambda _: None,
    on_start: Callable[[int], None] = lambda _: None,
) -> list[Trajectory]:
    """Run `agent` and give its trajectories in the tasks' order.

    Args:
        evaluation: What to run.
        agent: Acts in all slots at once.
        on_episode: Told of every episode in the tasks' order, as soon as all earlier ones are over.
        on_start: Told how many episodes there will be.
    """
    first = make_env(evaluation)
    episodes = min(evaluation.episodes, len(suite_of(first)))
    on_start(episodes)
    count = min(evaluation.slots, episodes)
    slots = [_Slot(first), *(_Slot(make_env(evaluation)) for _ in range(count - 1))]
    try:
        done: list[Trajectory] = []
        early: dict[int, Trajectory] = {}
        for index, trajectory in _play(evaluation, agent, slots, episodes):
            early[index] = trajectory
            while len(done) in early:
                done.append(early.pop(len(done)))
                on_episode(done[-1])
        return done
    finally:
        for slot in slots:
            slot.env.close()


def make_env(evaluation: Evaluation) -> gym.Env[str, str]:
    """The environment of `evaluation`. Raises `ConfigurationError` for an unknown id or a wrong argument."""
    try:
        return cast("gym.Env[str, str]", gym.make(evaluation.env_id, **evaluation.env_kwargs, disable_env_checker=True))
    except gym.error.UnregisteredEnv as error:
        known = ", ".join(sorted(name for name in gym.registry if name.startswith("StepTool/")))
        raise ConfigurationError(f"env {evaluation.env_id!r} is not registered ({error}); there are {known}") from error
    except TypeError as error:
        raise ConfigurationError(f"env {evaluation.env_id!r} does not take these arguments: {error}") from error


def suite_of(env: gym.Env[str, str]) -> Sequence[Any]:
    """The tasks of `env`. Raises `ConfigurationError` when it is no tool environment."""
    inner = env.unwrapped
    if not isinstance(inner, ToolEnv):
        raise ConfigurationError(f"{type(inner).__name__} is no text environment of steptool_env; evaluate takes those")
    return cast("Sequence[Any]", inner.suite)


def _play(
    evaluation: Evaluation, agent: Agent, slots: Sequence[_Slot], episodes: int
) -> Iterator[tuple[int, Trajectory]]:
    """Yield every episode's index and trajectory as it ends; a slot that is free takes the next task."""
    waiting = iter(range(episodes))
    live = _begin(evaluation, agent, dict(zip(range(len(slots)), waiting, strict=False)), slots)
    while live:
        observations, infos = [slots[i].observation for i in live], [slots[i].info for i in live]
        actions = agent.act(live, observations, infos)
        free = []
        for index, action in zip(live, actions, strict=True):
            slot = slots[index]
            slot.observation, _, terminated, truncated, slot.info = slot.env.step(action)
            if terminated or truncated:
                free.append(index)
                yield slot.episode, slot.info["trajectory"]
        started = _begin(evaluation, agent, dict(zip(free, waiting, strict=False)), slots)
        live = [index for index in live if index not in free or index in started]


def _begin(evaluation: Evaluation, agent: Agent, episodes: Mapping[int, int], slots: Sequence[_Slot]) -> list[int]:
    """Start an episode in every slot of `episodes` and tell the agent. Returns the slots."""
    for index, episode in episodes.items():
        slot = slots[index]
        slot.episode = episode
        slot.observation, slot.info = slot.env.reset(seed=evaluation.seed + episode, options={"task": episode})
    started = list(episodes)
    if started:
        agent.reset(started, [slots[i].observation for i in started], [slots[i].info for i in started])
    return started
