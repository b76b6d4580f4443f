"""Runs an agent through the tasks of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym

from agents.base import Agent
from agents.evaluation.episode_pool import EpisodePool, make_slots
from steptool_env.client import HttpToolClient
from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.types import Trajectory

LOST_IN_A_ROW = 5
"""Episodes lost to the tool server one after another that end a run: each of them has spent its retries."""

WHOLE_SUITE = 2000
"""Most tasks of a suite that is played whole without being told so. Splits to train on have more."""


@dataclass(frozen=True)
class Evaluation:
    """What is run: which tasks, in which environment.

    Attributes:
        env_id: The environment's id, e.g. `StepTool/ToolWorld-v0`.
        env_kwargs: Arguments of `gym.make`.
        episodes: Number of tasks, taken in the suite's order; `None` for the whole suite, see `count_of`.
        slots: Episodes side by side; the agent decides for all of them at once.
        seed: Seeds each episode together with its index, so results do not depend on `slots`.
    """

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    episodes: int | None = None
    slots: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("episodes", self.episodes), ("slots", self.slots)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value}: must be at least 1")
        if self.seed < 0:
            raise ConfigurationError(f"seed={self.seed}: must be at least 0")


@dataclass
class SlotState:
    """Where the episode of a slot stands."""

    episode: int
    observation: str
    info: dict[str, Any]


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
        on_episode: Told of every episode in the tasks' order, as soon as all earlier ones are over, and of all
            that are over when an error ends the run.
        on_start: Told how many episodes there will be, once the tools are known to be there.

    Raises:
        ConfigurationError: See `make_env` and `count_of`.
        ToolTransportError: No tool server answers, or `LOST_IN_A_ROW` episodes in a row were lost to it.
    """
    first = make_env(evaluation)
    episodes = count_of(evaluation, suite_of(first))
    count = min(evaluation.slots, episodes)
    slots = make_slots(first, lambda: make_env(evaluation), count)
    order = _InOrder(on_episode)
    try:
        _check_tools(first)
        on_start(episodes)
        for index, trajectory in _until_lost(EvaluationLoop(evaluation, agent, slots).play(episodes, count)):
            order.add(index, trajectory)
        return order.told
    finally:
        order.flush()
        slots.close()


def make_env(evaluation: Evaluation) -> gym.Env[str, str]:
    """The environment of `evaluation`. Raises `ConfigurationError` for an unknown id or a wrong argument."""
    try:
        return cast("gym.Env[str, str]", gym.make(evaluation.env_id, **evaluation.env_kwargs, disable_env_checker=True))
    except gym.error.UnregisteredEnv as error:
        known = ", ".join(sorted(name for name in gym.registry if name.startswith("StepTool/")))
        raise ConfigurationError(f"env {evaluation.env_id!r} is not registered ({error}); there are {known}") from error
    except TypeError as error:
        raise ConfigurationError(f"env {evaluation.env_id!r} does not take these arguments: {error}") from error


def count_of(evaluation: Evaluation, suite: Sequence[Any]) -> int:
    """The number of episodes: what was asked for, else the whole suite.

    Raises:
        ConfigurationError: The suite has fewer tasks, or it has more than `WHOLE_SUITE` (as splits to train on have)
            and no number was given.
    """
    name, size = getattr(suite, "name", "the suite"), len(suite)
    if evaluation.episodes is None and size > WHOLE_SUITE:
        raise ConfigurationError(
            f"episodes: {name!r} has {size:,} tasks, and a suite of more than {WHOLE_SUITE:,} is not played whole "
            f"unless asked for; give the number of episodes ({size} for all)"
        )
    if evaluation.episodes is not None and evaluation.episodes > size:
        raise ConfigurationError(
            f"episodes={evaluation.episodes}: {name!r} has {size:,} tasks, and each is played once; give at most {size}"
        )
    return size if evaluation.episodes is None else evaluation.episodes


def check(evaluation: Evaluation) -> None:
    """Raise what `evaluate` would before its first episode, tools aside: for commands that train first."""
    env = make_env(evaluation)
    try:
        count_of(evaluation, suite_of(env))
    finally:
        env.close()


def suite_of(env: gym.Env[str, str]) -> Sequence[Any]:
    """The tasks of `env`. Raises `ConfigurationError` when it is no tool environment."""
    inner = env.unwrapped
    if not isinstance(inner, ToolEnv):
        raise ConfigurationError(f"{type(inner).__name__} is no text environment of steptool_env; evaluate takes those")
    return cast("Sequence[Any]", inner.suite)


def _check_tools(env: gym.Env[str, str]) -> None:
    client = cast(ToolEnv, env.unwrapped).client
    if isinstance(client, HttpToolClient):
        client.check()


def _until_lost(played: Iterable[tuple[int, Trajectory]]) -> Iterator[tuple[int, Trajectory]]:
    """Pass episodes on. Raises `ToolTransportError` after `LOST_IN_A_ROW` that were lost to the tool server."""
    lost = 0
    for index, trajectory in played:
        yield index, trajectory
        reason = trajectory.metadata.get("transport_error")
        lost = lost + 1 if reason else 0
        if lost == LOST_IN_A_ROW:
            raise ToolTransportError(f"stopped early, {lost} episodes in a row were lost to the tool server: {reason}")


class _InOrder:
    """Tells of episodes in the tasks' order, however they end."""

    def __init__(self, tell: Callable[[Trajectory], None]) -> None:
        self.told: list[Trajectory] = []
        self._tell = tell
        self._early: dict[int, Trajectory] = {}

    def add(self, index: int, trajectory: Trajectory) -> None:
        """Take an episode, and tell of all whose turn it is."""
        self._early[index] = trajectory
        while len(self.told) in self._early:
            self.told.append(self._early.pop(len(self.told)))
            self._tell(self.told[-1])

    def flush(self) -> None:
        """Tell of those that came before their turn, after a run that ended before the earlier ones did."""
        for index in sorted(self._early):
            self._tell(self._early.pop(index))


class EvaluationLoop:
    """The agent and the slots, and what stands in them."""

    def __init__(self, evaluation: Evaluation, agent: Agent, slots: EpisodePool) -> None:
        self._seed, self._agent, self._slots = evaluation.seed, agent, slots
        self._live: dict[int, SlotState] = {}

    def play(self, episodes: int, count: int) -> Iterator[tuple[int, Trajectory]]:
        """Yield every episode's index and trajectory as it ends; a slot that is free takes the next task."""
        waiting = iter(range(episodes))
        self._begin(dict(zip(range(count), waiting, strict=False)))
        while self._live:
            free = []
            for index, (observation, _, terminated, truncated, info) in self._step():
                stand = self._live[index]
                stand.observation, stand.info = observation, info
                if terminated or truncated:
                    free.append(index)
                    yield self._live.pop(index).episode, info["trajectory"]
            self._begin(dict(zip(free, waiting, strict=False)))

    def _step(self) -> Iterator[tuple[int, Transition]]:
        """One action in every live slot, in the order of the slots."""
        live = sorted(self._live)
        observations, infos = [self._live[i].observation for i in live], [self._live[i].info for i in live]
        actions = dict(zip(live, self._agent.act(live, observations, infos), strict=True))
        return zip(actions, self._slots.step(actions), strict=True)

    def _begin(self, episodes: Mapping[int, int]) -> None:
        """Start an episode in every slot of `episodes` and tell the agent."""
        for index, episode in episodes.items():
            self._live[index] = SlotState(episode, *self._slots.reset(index, episode, self._seed + episode))
        stands = [self._live[index] for index in episodes]
        if stands:
            self._agent.reset(list(episodes), [stand.observation for stand in stands], [stand.info for stand in stands])
