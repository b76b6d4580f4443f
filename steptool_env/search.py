"""ToolBench's inference strategies on forks of an environment: `CoT@n` and DFSDT.

A search is a generator of `SearchNode`: the caller takes one step in each node's environment and then asks for the next
node. So one loop can take the steps of many searches together (`agents.evaluation.search`), and `cot` and `dfsdt` drive
one search with a function.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from steptool_env.env import ToolEnv
from steptool_env.episodes.observations import answer_in
from steptool_env.episodes.records import step_record
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
{former}Remember you are now in the intermediate state of a trail, you will first analyze the now state and previous \
action candidates, then make actions that is different from all the previous."""


class SearchNode(NamedTuple):
    """Node of a search at which an action is to be taken.

    Attributes:
        prompt: Prompt of the episode.
        info: `info` of the reset: messages, functions, format.
        path: Steps from the start to this node.
        siblings: Failed earlier steps at this node; the action should differ. Empty in `CoT@n`.
        env: Environment at this node, in which the action is taken.
        parent: Number of the last call of `path` among all calls of the search, from 0; -1 at the start.
        attempt: Number of actions that were tried at this node before.
    """

    prompt: str
    info: Mapping[str, Any]
    path: tuple[Step, ...]
    siblings: tuple[Step, ...]
    env: ToolEnv
    parent: int = -1
    attempt: int = 0


SearchPolicy = Callable[[SearchNode], str]
"""Function from node to action, a text in the environment's format."""


class SearchResult(NamedTuple):
    """Result of a search.

    Attributes:
        trajectory: Path to the answer, else the first path that gave up, else the first complete path. Its metadata
            describes the whole search: `search_method` (ToolBench's name of it), `search_calls`,
            `search_invalid_calls`, and `search_tree`, all calls in the order in which they were made, each with the
            number of its `parent` (-1 at the start).
        calls: Number of steps in all paths, abandoned ones included.
        answered: True if a path gave an answer.
    """

    trajectory: Trajectory
    calls: int
    answered: bool


Search = Generator[SearchNode, None, SearchResult]
"""Search in progress. Its user takes one step in the environment of each node, then asks for the next."""

MAX_CALLS = 200
"""Default number of calls of a DFSDT search, as ToolBench's pipeline limits its requests."""

_COT = re.compile(r"cot@([1-9]\d{0,3})")


def make_search(
    strategy: str, env: ToolEnv, *, width: int = 2, max_calls: int | None = None, max_depth: int | None = None
) -> Search:
    """Return the search that `strategy` names, from the state of `env`.

    Args:
        strategy: `cot@N` or `dfsdt`.
        env: Environment after `reset`; its state does not change.
        width: See `dfsdt`.
        max_calls: Maximum number of steps of the search; by default `MAX_CALLS` for `dfsdt`, unlimited for `cot@N`,
            whose episodes have a budget each.
        max_depth: See `dfsdt`.

    Raises:
        ConfigurationError: The strategy is unknown, or a number is not positive.
    """
    attempts = check_strategy(strategy)
    if attempts:
        return _cot(env, attempts, max_calls)
    return _dfsdt(env, width, MAX_CALLS if max_calls is None else max_calls, max_depth)


def check_strategy(strategy: str) -> int:
    """Return N of `cot@N`, 0 for `dfsdt`. Raise `ConfigurationError` for any other strategy."""
    found = _COT.fullmatch(strategy)
    if found is None and strategy != "dfsdt":
        raise ConfigurationError(f"strategy={strategy!r}: must be dfsdt, or cot@N with N from 1 to 9999, e.g. cot@1")
    return int(found[1]) if found else 0


def cot(env: ToolEnv, policy: SearchPolicy, *, attempts: int, max_calls: int | None = None) -> SearchResult:
    """`CoT@n`: up to `attempts` independent episodes from the state of `env`, until one gives an answer.

    Args:
        env: Environment after `reset`; its state does not change.
        policy: Policy that chooses the actions.
        attempts: Maximum number of episodes.
        max_calls: Maximum number of steps of all episodes together.
    """
    return _drive(_cot(env, attempts, max_calls), policy)


def dfsdt(
    env: ToolEnv, policy: SearchPolicy, *, width: int = 2, max_calls: int | None = None, max_depth: int | None = None
) -> SearchResult:
    """ToolBench's depth-first search based decision tree (`DFS_woFilter_w<width>`).

    At every node up to `width` actions are tried; the policy sees the earlier ones. The search ends with the first
    answer. Giving up backs up two levels; the end of the call budget, which bounds the depth, backs up one.

    Args:
        env: Environment after `reset`; its state does not change.
        policy: Policy that chooses the actions.
        width: Maximum number of actions per node.
        max_calls: Maximum number of steps of the search.
        max_depth: Depth at which a path ends, in ToolBench's nodes (`single_chain_max_step`, 12 in its published
            runs): a call has two, action and input, and a third for a thought. By default the call budget alone
            bounds a path.
    """
    return _drive(_dfsdt(env, width, max_calls, max_depth), policy)


def diversity_prompt(siblings: Sequence[Step], observation: str = "") -> str:
    """Return ToolBench's message that asks for an action unlike the failed ones.

    Args:
        siblings: Failed steps, as in `SearchNode.siblings`.
        observation: Observation at the node, which the message repeats; empty at the start.
    """
    previous = [
        {
            "name": step.action.name,
            "arguments": step.action.arguments,
            "function_output": answer_in(step.observation),
            "mento-carlo-action-value": 0.0,  # ToolBench's spelling and its constant value
        }
        for step in siblings
    ]
    former = f"again, your former observation: {answer_in(observation)}\n\n" if observation else "\n"
    return _DIVERSITY.format(previous=json.dumps(previous, indent=2, ensure_ascii=False), former=former)


def _drive(search: Search, policy: SearchPolicy) -> SearchResult:
    while True:
        try:
            node = next(search)
        except StopIteration as end:
            result: SearchResult = end.value
            return result
        node.env.step(policy(node))


def _cot(env: ToolEnv, attempts: int, max_calls: int | None) -> Search:
    state = _SearchState(env, max_calls)
    for attempt in range(_count("attempts", attempts)):
        leaf = yield from state.chain(attempt)
        if leaf is None or state.end(leaf) == _TO_ROOT:
            break
    return state.result(f"CoT@{attempts}")


def _dfsdt(env: ToolEnv, width: int, max_calls: int | None, max_depth: int | None) -> Search:
    state = _SearchState(env, max_calls, None if max_depth is None else _count("max_depth", max_depth))
    yield from state.expand(env, _count("width", width))
    return state.result(f"DFS_woFilter_w{width}")


class _SearchState:
    """State of one search: calls made and episodes that ended."""

    def __init__(self, env: ToolEnv, max_calls: int | None, max_depth: int | None = None) -> None:
        self._env = env
        self._prompt, self._info = env.episode.prompt()
        self._left = _TO_ROOT if max_calls is None else _count("max_calls", max_calls)
        self._max_depth = max_depth
        self._calls = 0
        self._tree: list[dict[str, Any]] = []
        self._malformed = 0
        self._last = env
        self._ends: list[Trajectory] = []

    def chain(self, attempt: int) -> Generator[SearchNode, None, ToolEnv | None]:
        """Play an episode to its end. Return `None` if the calls run out."""
        env, parent = self._env.fork(), -1
        while not env.episode.over:
            if not (yield from self._take(env, (), parent, attempt if parent < 0 else 0)):
                return None
            parent = len(self._tree) - 1
        return env

    def expand(self, env: ToolEnv, width: int, parent: int = -1) -> Generator[SearchNode, None, int]:
        """Try `width` actions in the state of `env`. Return the number of levels to back up."""
        siblings: list[Step] = []
        for attempt in range(width):
            child = env.fork()
            if not (yield from self._take(child, tuple(siblings), parent, attempt)):
                return _TO_ROOT
            number = len(self._tree) - 1
            if self._is_deep(child):
                child.truncate()
            up = self.end(child) if child.episode.over else (yield from self.expand(child, width, number))
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

    def result(self, method: str) -> SearchResult:
        by_status = {_status(trajectory): trajectory for trajectory in reversed(self._ends)}
        answer = by_status.get(StatusCode.FINAL_ANSWER)
        gave_up = by_status.get(StatusCode.GAVE_UP)
        lost = next((end for end in self._ends if "transport_error" in end.metadata), None)
        chosen = answer or lost or gave_up or (self._ends[0] if self._ends else self._cut())
        metadata = {
            **chosen.metadata,
            "search_method": method,
            "search_calls": self._calls,
            "search_invalid_calls": self._malformed,
            "search_tree": self._tree,
        }
        return SearchResult(replace(chosen, metadata=metadata), self._calls, answer is not None)

    def _cut(self) -> Trajectory:
        """Return the path on which the calls ran out before any path ended."""
        if not self._last.episode.over:
            self._last.truncate()
        return self._last.episode.trajectory()

    def _is_deep(self, env: ToolEnv) -> bool:
        if self._max_depth is None or env.episode.over:
            return False
        return sum(map(_nodes, env.episode.steps)) >= self._max_depth

    def _take(
        self, env: ToolEnv, siblings: tuple[Step, ...], parent: int, attempt: int
    ) -> Generator[SearchNode, None, bool]:
        """Let one step be taken in `env` if a call remains. Return True if it was taken."""
        if self._calls >= self._left:
            return False
        path = tuple(env.episode.steps)
        yield SearchNode(self._prompt, self._info, path, siblings, env, parent, attempt)
        self._calls += 1
        self._last = env
        for step in env.episode.steps[len(path) :]:  # none where the tools could not be reached
            record = step_record(step)
            self._tree.append({"parent": parent} | {name: record[name] for name in ("action", "observation", "status")})
            self._malformed += step.malformed
        return True


def _nodes(step: Step) -> int:
    """Return the number of nodes of a step in ToolBench's tree: action and input, and its thought."""
    return 2 + bool(step.action.thought) if step.action.name else 1


def _status(trajectory: Trajectory) -> StatusCode | None:
    return trajectory.steps[-1].status if trajectory.steps else None


def _count(name: str, value: int) -> int:
    if value < 1:
        raise ConfigurationError(f"{name}={value}: must be at least 1")
    return value
