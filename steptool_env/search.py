"""ToolBench's inference strategies on forks of an environment: `CoT@n` and DFSDT."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from steptool_env.env import ToolEnv
from steptool_env.episodes.observations import answer_in
from steptool_env.errors import ConfigurationError
from steptool_env.types import Step, Trajectory
from toolserver.catalog.api_schema import StatusCode

_UP_FROM_GIVING_UP = 2  # levels; ToolBench's `prune_back_length`
_UP = 1
_TO_ROOT = 1_000_000

_DIVERSITY = """This is not the first time you try this task, all previous trails failed.
Before you generate my thought for this state, I will first show you your previous actions for this state, and then \
you must generate actions that is different from all of them. Here are some previous actions candidates:
{previous}
Remember you are now in the intermediate state of a trail, you will first analyze the now state and previous action \
candidates, then make actions that is different from all the previous."""


class SearchNode(NamedTuple):
    """Node of a search at which the policy chooses an action.

    Attributes:
        prompt: Prompt of the episode.
        info: `info` of the reset: messages, functions, format.
        path: Steps from the start to this node.
        siblings: Failed earlier steps at this node; the action should differ. Empty in `CoT@n`.
    """

    prompt: str
    info: Mapping[str, Any]
    path: tuple[Step, ...]
    siblings: tuple[Step, ...]


SearchPolicy = Callable[[SearchNode], str]
"""Function from node to action, a text in the environment's format."""


class SearchResult(NamedTuple):
    """Result of a search.

    Attributes:
        trajectory: Path to the answer, else the first path that gave up, else the first complete path; its
            `metadata["search_calls"]` is `calls`.
        calls: Number of steps in all paths, abandoned ones included.
        answered: True if a path gave an answer.
    """

    trajectory: Trajectory
    calls: int
    answered: bool


def cot(env: ToolEnv, policy: SearchPolicy, *, attempts: int, max_calls: int | None = None) -> SearchResult:
    """`CoT@n`: up to `attempts` independent episodes from the state of `env`, until one gives an answer.

    Args:
        env: Environment after `reset`; its state does not change.
        policy: Policy that chooses the actions.
        attempts: Maximum number of episodes.
        max_calls: Maximum number of steps of all episodes together.
    """
    search = _Search(env, policy, max_calls)
    for _ in range(_count("attempts", attempts)):
        leaf = search.chain()
        if leaf is None or search.end(leaf) == _TO_ROOT:
            break
    return search.result()


def dfsdt(env: ToolEnv, policy: SearchPolicy, *, width: int = 2, max_calls: int | None = None) -> SearchResult:
    """ToolBench's depth-first search based decision tree (`DFS_woFilter_w<width>`).

    At every node up to `width` actions are tried; the policy sees the earlier ones. The search ends with the first
    answer. Giving up backs up two levels; the end of the call budget, which bounds the depth, backs up one.

    Args:
        env: Environment after `reset`; its state does not change.
        policy: Policy that chooses the actions.
        width: Maximum number of actions per node.
        max_calls: Maximum number of steps of the search.
    """
    search = _Search(env, policy, max_calls)
    search.expand(env, _count("width", width))
    return search.result()


def diversity_prompt(siblings: Sequence[Step]) -> str:
    """Return ToolBench's message that asks for an action unlike the failed ones, given `SearchNode.siblings`."""
    previous = [
        {"name": s.action.name, "arguments": s.action.arguments, "function_output": answer_in(s.observation)}
        for s in siblings
    ]
    return _DIVERSITY.format(previous=json.dumps(previous, indent=2, ensure_ascii=False))


class _Search:
    """State of one search: calls made and episodes that ended."""

    def __init__(self, env: ToolEnv, policy: SearchPolicy, max_calls: int | None) -> None:
        self._env = env
        self._policy = policy
        self._prompt, self._info = env.episode.prompt()
        self._left = _TO_ROOT if max_calls is None else _count("max_calls", max_calls)
        self._calls = 0
        self._last = env
        self._ends: list[Trajectory] = []

    def chain(self) -> ToolEnv | None:
        """Play an episode to its end. Return `None` if the calls run out."""
        env = self._env.fork()
        while not env.episode.over:
            if not self._take(env, ()):
                return None
        return env

    def expand(self, env: ToolEnv, width: int) -> int:
        """Try `width` actions in the state of `env`. Return the number of levels to back up."""
        siblings: list[Step] = []
        for _ in range(width):
            child = env.fork()
            if not self._take(child, tuple(siblings)):
                return _TO_ROOT
            up = self.end(child) if child.episode.over else self.expand(child, width)
            if up > _UP:
                return up - 1 if up < _TO_ROOT else up
            siblings.append(child.episode.steps[len(env.episode.steps)])
        return _UP

    def end(self, env: ToolEnv) -> int:
        """Record an episode that is over. Return the number of levels to back up."""
        self._ends.append(env.episode.trajectory())
        if env.episode.lost or _status(self._ends[-1]) is StatusCode.FINAL_ANSWER:
            return _TO_ROOT
        return _UP_FROM_GIVING_UP if self._ends[-1].finished else _UP

    def result(self) -> SearchResult:
        by_status = {_status(trajectory): trajectory for trajectory in reversed(self._ends)}
        answer = by_status.get(StatusCode.FINAL_ANSWER)
        gave_up = by_status.get(StatusCode.GAVE_UP)
        ended = self._ends[0] if self._ends else replace(self._last.episode.trajectory(), truncated=True)
        chosen = answer or gave_up or ended
        metadata = {**chosen.metadata, "search_calls": self._calls}
        return SearchResult(replace(chosen, metadata=metadata), self._calls, answer is not None)

    def _take(self, env: ToolEnv, siblings: tuple[Step, ...]) -> bool:
        """Take one step in `env` if a call remains. Return True if it was taken."""
        if self._calls >= self._left:
            return False
        env.step(self._policy(SearchNode(self._prompt, self._info, tuple(env.episode.steps), siblings)))
        self._calls += 1
        self._last = env
        return True


def _status(trajectory: Trajectory) -> StatusCode | None:
    return trajectory.steps[-1].status if trajectory.steps else None


def _count(name: str, value: int) -> int:
    if value < 1:
        raise ConfigurationError(f"{name}={value}: must be at least 1")
    return value
