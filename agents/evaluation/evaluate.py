"""Evaluation of an agent on the tasks of an environment."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, cast

from agents.base import Agent, ContinuousAgent
from agents.evaluation.search import SearchLoop, SearchSettings, add_tokens, last_tokens
from agents.rollout.episode_loop import EpisodeLoop, Opening, Start
from agents.rollout.episode_pool import TextEnv, make_pool
from steptool_env.client import HttpToolClient
from steptool_env.env import ToolEnv
from steptool_env.envs.make import make_env
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.search import check_strategy
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
        slots: Number of concurrent episodes or searches; the agent acts in all of them at once.
        seed: Random seed. With its index it seeds each episode, so results do not depend on `slots`.
        strategy: Search per task: `cot@N` or `dfsdt`; empty for one episode. See `steptool_env.search`.
        width: Maximum number of actions per state in `dfsdt`.
        max_calls: Maximum number of calls of a search; by default 200 for `dfsdt`.
        max_depth: Depth of a path of `dfsdt` in ToolBench's nodes; by default the call budget alone bounds it.
    """

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    episodes: int | None = None
    slots: int = 8
    seed: int = 0
    strategy: str = ""
    width: int = 2
    max_calls: int | None = None
    max_depth: int | None = None

    def __post_init__(self) -> None:
        least_of = {"episodes": 1, "slots": 1, "seed": 0, "width": 1, "max_calls": 1, "max_depth": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name}={value}: must be at least {least}")
        if self.strategy:
            check_strategy(self.strategy)
        elif self.max_calls is not None or self.max_depth is not None or self.width != Evaluation.width:
            raise ConfigurationError(
                "width, max_calls and max_depth are of a search: give strategy=dfsdt or strategy=cot@N"
            )


def evaluate(
    evaluation: Evaluation,
    agent: Agent,
    on_episode: Callable[[Trajectory], None] = lambda _: None,
    on_start: Callable[[int], None] = lambda _: None,
    tasks: Sequence[int] | None = None,
) -> list[Trajectory]:
    """Run `agent` and return its trajectories in the order of the tasks.

    Args:
        evaluation: Tasks and environment.
        agent: Acts in all slots at once.
        on_episode: Called with each trajectory in the order of the tasks, as soon as all earlier ones are complete,
            and with all complete ones when an error ends the run.
        on_start: Called with the number of episodes once the tools are known to be reachable.
        tasks: Indices of the tasks that are played, among those of the evaluation; all by default.

    Raises:
        ConfigurationError: See `env_of` and `count_of`.
        ToolTransportError: No tool server answers, or `LOST_IN_A_ROW` episodes in a row were lost to it.
    """
    first = env_of(evaluation)
    indices = range(count_of(evaluation, suite_of(first))) if tasks is None else tasks
    starts = [Start(evaluation.seed + index, index) for index in indices]
    order = _InOrder(on_episode)
    with ExitStack() as stack:
        stack.callback(order.flush)
        played = _episodes(evaluation, first, agent, starts, stack)
        client = cast(ToolEnv, first.unwrapped).client
        if isinstance(client, HttpToolClient):
            client.check()
        on_start(len(indices))
        for index, trajectory in _until_lost(played):
            order.add(index, trajectory)
        return order.reported


def _episodes(
    evaluation: Evaluation, first: TextEnv, agent: Agent, starts: Sequence[Start], stack: ExitStack
) -> Iterator[tuple[int, Trajectory]]:
    """Return the iterator over indices and trajectories; `stack` closes the environments."""
    slots = min(evaluation.slots, len(starts))
    if evaluation.strategy:
        stack.callback(first.close)
        settings = SearchSettings(evaluation.strategy, evaluation.width, evaluation.max_calls, evaluation.max_depth)
        return SearchLoop(first, agent, settings).play(starts, slots)
    pool = make_pool(lambda: env_of(evaluation), slots, first)
    stack.callback(pool.close)
    loop = EpisodeLoop(pool, _AgentPlayer(agent))
    return ((index, last.info["trajectory"]) for index, last in loop.play(starts))


def env_of(evaluation: Evaluation) -> TextEnv:
    """Return the environment of `evaluation`. Raises `ConfigurationError` for an unknown id or a wrong argument."""
    return make_env(evaluation.env_id, evaluation.env_kwargs)


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
    with closing(env_of(evaluation)) as env:
        count_of(evaluation, suite_of(env))


def tasks_of(evaluation: Evaluation) -> list[Task]:
    """Return the tasks of an evaluation. Raises `ConfigurationError` as `evaluate` does."""
    with closing(env_of(evaluation)) as env:
        suite = suite_of(env)
        return [suite.task(index) for index in range(count_of(evaluation, suite))]


def suite_of(env: TextEnv) -> TaskSuite:
    """Return the task suite of `env`. Raises `ConfigurationError` for other environments than `ToolEnv`."""
    return _tool_env(env).suite


def settings_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return `ToolEnv.settings` of the environment of `evaluation`."""
    with closing(env_of(evaluation)) as env:
        return _tool_env(env).settings


def _tool_env(env: TextEnv) -> ToolEnv:
    inner = env.unwrapped
    if not isinstance(inner, ToolEnv):
        raise ConfigurationError(
            f"{type(inner).__name__} is not a text environment of steptool_env; evaluate takes those"
        )
    return inner


def _until_lost(played: Iterable[tuple[int, Trajectory]]) -> Iterator[tuple[int, Trajectory]]:
    """Yield episodes. Raises `ToolTransportError` after `LOST_IN_A_ROW` consecutive ones lost to the tool server."""
    lost = 0
    for index, trajectory in played:
        yield index, trajectory
        reason = "agent_error" not in trajectory.metadata and trajectory.metadata.get("transport_error")
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


class _AgentPlayer:
    """Player whose actions an agent chooses: one by one if it can, else all that are asked for at once."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._asked: dict[int, tuple[str, dict[str, Any]]] = {}
        self._tokens: dict[int, int] = {}

    def begin(self, openings: Mapping[int, Opening]) -> None:
        states = {slot: (opening.observation, opening.info) for slot, opening in openings.items()}
        self._agent.reset(*_columns(states))
        self._tokens |= dict.fromkeys(openings, 0)
        self._asked |= states

    def act(self) -> dict[int, str]:
        asked, self._asked = dict(sorted(self._asked.items())), {}
        if not isinstance(self._agent, ContinuousAgent):
            actions = self._agent.act(*_columns(asked))
            for slot in asked:
                self._tokens[slot] += last_tokens(self._agent, slot)
            return dict(zip(asked, actions, strict=True))
        if asked:
            self._agent.ask(*_columns(asked))
        return dict(self._agent.answers())

    def observe(self, slot: int, transition: Transition) -> bool:
        goes_on = not (transition.terminated or transition.truncated)
        if goes_on:
            self._asked[slot] = transition.observation, transition.info
        elif self._tokens[slot]:
            add_tokens(transition.info["trajectory"], self._tokens[slot])
        return goes_on


def _columns(states: Mapping[int, tuple[str, dict[str, Any]]]) -> tuple[list[int], list[str], list[dict[str, Any]]]:
    """Return slots, observations and infos."""
    return list(states), [text for text, _ in states.values()], [info for _, info in states.values()]
