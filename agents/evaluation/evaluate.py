"""Evaluation of an agent on the tasks of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym

from agents.base import Agent
from agents.evaluation.episode_pool import EpisodePool, make_pool
from steptool_env.client import HttpToolClient
from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.suites.base import TaskSuite
from steptool_env.types import Task, Trajectory

LOST_IN_A_ROW = 5
"""Number of consecutive episodes lost to the tool server that end a run; each has spent its retries."""

WHOLE_SUITE = 2000
"""Maximum size of a suite that is evaluated as a whole by default. Training splits are larger."""


@dataclass(frozen=True)
class Evaluation:
    """Tasks and environment of an evaluation.

    Attributes:
        env_id: Id of the environment, e.g. `StepTool/ToolWorld-v0`.
        env_kwargs: Arguments of `gym.make`.
        episodes: Number of tasks, from the first of the suite on; `None` for the whole suite, see `count_of`.
        slots: Number of concurrent episodes; the agent acts in all of them at once.
        seed: Random seed. With its index it seeds each episode, so results do not depend on `slots`.
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
    """Index, last observation and last info of the episode in a slot."""

    episode: int
    observation: str
    info: dict[str, Any]


def evaluate(
    evaluation: Evaluation,
    agent: Agent,
    on_episode: Callable[[Trajectory], None] = lambda _: None,
    on_start: Callable[[int], None] = lambda _: None,
) -> list[Trajectory]:
    """Run `agent` and return its trajectories in the order of the tasks.

    Args:
        evaluation: Tasks and environment.
        agent: Acts in all slots at once.
        on_episode: Called with each trajectory in the order of the tasks, as soon as all earlier ones are complete,
            and with all complete ones when an error ends the run.
        on_start: Called with the number of episodes once the tools are known to be reachable.

    Raises:
        ConfigurationError: See `make_env` and `count_of`.
        ToolTransportError: No tool server answers, or `LOST_IN_A_ROW` episodes in a row were lost to it.
    """
    first = make_env(evaluation)
    episodes = count_of(evaluation, suite_of(first))
    slots = min(evaluation.slots, episodes)
    pool = make_pool(first, lambda: make_env(evaluation), slots)
    order = _InOrder(on_episode)
    try:
        _check_tools(first)
        on_start(episodes)
        for index, trajectory in _until_lost(EvaluationLoop(evaluation.seed, agent, pool).play(episodes, slots)):
            order.add(index, trajectory)
        return order.reported
    finally:
        order.flush()
        pool.close()


def make_env(evaluation: Evaluation) -> gym.Env[str, str]:
    """Return the environment of `evaluation`. Raises `ConfigurationError` for an unknown id or a wrong argument."""
    try:
        return cast("gym.Env[str, str]", gym.make(evaluation.env_id, **evaluation.env_kwargs, disable_env_checker=True))
    except gym.error.UnregisteredEnv as error:
        known = ", ".join(sorted(name for name in gym.registry if name.startswith("StepTool/")))
        raise ConfigurationError(f"env {evaluation.env_id!r} is not registered ({error}); there are {known}") from error
    except TypeError as error:
        raise ConfigurationError(f"env {evaluation.env_id!r} does not take these arguments: {error}") from error


def count_of(evaluation: Evaluation, suite: Sized) -> int:
    """Return the number of episodes; by default the size of the suite.

    Raises:
        ConfigurationError: The suite has fewer tasks, or it has more than `WHOLE_SUITE` (as training splits have) and
            `evaluation.episodes` is `None`.
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
    """Raise the configuration errors of `evaluate` without asking the tools, for commands that train first."""
    env = make_env(evaluation)
    try:
        count_of(evaluation, suite_of(env))
    finally:
        env.close()


def tasks_of(evaluation: Evaluation) -> list[Task]:
    """Return the tasks of an evaluation. Raises `ConfigurationError` as `evaluate` does."""
    env = make_env(evaluation)
    try:
        suite = suite_of(env)
        return [suite.task(index) for index in range(count_of(evaluation, suite))]
    finally:
        env.close()


def suite_of(env: gym.Env[str, str]) -> TaskSuite:
    """Return the task suite of `env`. Raises `ConfigurationError` for other environments than `ToolEnv`."""
    inner = env.unwrapped
    if not isinstance(inner, ToolEnv):
        raise ConfigurationError(f"{type(inner).__name__} is no text environment of steptool_env; evaluate takes those")
    return inner.suite


def _check_tools(env: gym.Env[str, str]) -> None:
    client = cast(ToolEnv, env.unwrapped).client
    if isinstance(client, HttpToolClient):
        client.check()


def _until_lost(played: Iterable[tuple[int, Trajectory]]) -> Iterator[tuple[int, Trajectory]]:
    """Yield episodes. Raises `ToolTransportError` after `LOST_IN_A_ROW` consecutive ones lost to the tool server."""
    lost = 0
    for index, trajectory in played:
        yield index, trajectory
        reason = trajectory.metadata.get("transport_error")
        lost = lost + 1 if reason else 0
        if lost == LOST_IN_A_ROW:
            raise ToolTransportError(f"stopped early, {lost} episodes in a row were lost to the tool server: {reason}")


class _InOrder:
    """Reports trajectories in the order of the tasks, in whatever order the episodes end."""

    def __init__(self, report: Callable[[Trajectory], None]) -> None:
        self.reported: list[Trajectory] = []
        self._report = report
        self._early: dict[int, Trajectory] = {}

    def add(self, index: int, trajectory: Trajectory) -> None:
        """Add a trajectory, and report all that are next in order."""
        self._early[index] = trajectory
        while len(self.reported) in self._early:
            self.reported.append(self._early.pop(len(self.reported)))
            self._report(self.reported[-1])

    def flush(self) -> None:
        """Report the remaining trajectories, after a run that ended before earlier ones were complete."""
        for index in sorted(self._early):
            self._report(self._early.pop(index))


class EvaluationLoop:
    """Loop of an agent over an episode pool."""

    def __init__(self, seed: int, agent: Agent, pool: EpisodePool) -> None:
        self._seed, self._agent, self._pool = seed, agent, pool
        self._live: dict[int, SlotState] = {}

    def play(self, episodes: int, slots: int) -> Iterator[tuple[int, Trajectory]]:
        """Yield index and trajectory of each episode as it ends. A free slot takes the next task."""
        waiting = iter(range(episodes))
        self._start(dict(zip(range(slots), waiting, strict=False)))
        while self._live:
            free = []
            for index, (observation, _, terminated, truncated, info) in self._step():
                state = self._live[index]
                state.observation, state.info = observation, info
                if terminated or truncated:
                    free.append(index)
                    yield self._live.pop(index).episode, info["trajectory"]
            self._start(dict(zip(free, waiting, strict=False)))

    def _step(self) -> Iterator[tuple[int, Transition]]:
        """Take one action in every live slot, in the order of the slots."""
        live = sorted(self._live)
        observations, infos = [self._live[i].observation for i in live], [self._live[i].info for i in live]
        actions = dict(zip(live, self._agent.act(live, observations, infos), strict=True))
        return zip(actions, self._pool.step(actions), strict=True)

    def _start(self, episodes: Mapping[int, int]) -> None:
        """Start an episode in every slot of `episodes` and reset the agent there."""
        for index, episode in episodes.items():
            self._live[index] = SlotState(episode, *self._pool.reset(index, episode, self._seed + episode))
        states = [self._live[index] for index in episodes]
        if states:
            self._agent.reset(list(episodes), [state.observation for state in states], [state.info for state in states])
