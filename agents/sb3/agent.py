"""Agents that choose among the candidates of the numeric form and act in the text environment.

They are evaluated as other agents are: on the same episodes, with the same metrics.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import numpy as np

from agents.base import Info
from agents.seeding import branch_stream
from steptool_env.discrete import CandidateView
from steptool_env.envs.toolworld_discrete import toolworld_lexicon
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import read_task_id

Chooser = Callable[[Sequence[CandidateView], Sequence[tuple[str, int]]], Sequence[int]]
"""Function that chooses a candidate in each view, by index. Its second argument are the task ids and step numbers."""


class CandidateAgent:
    """Agent that tracks every episode with a `CandidateView` and renders the candidate that `choose` takes as text."""

    def __init__(self, name: str, choose: Chooser) -> None:
        self.name = name
        self._choose = choose
        self._views: dict[int, CandidateView] = {}
        self._keys: dict[int, tuple[str, int]] = {}
        self._pending: dict[int, int] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`. Raises `ConfigurationError` for a task that is not ToolWorld's."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            self._views[index] = CandidateView(info, toolworld_lexicon(_level(info["task_id"])))
            self._keys[index] = info["task_id"], 0
            self._pending.pop(index, None)

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        for index, observation, info in zip(indices, observations, infos, strict=True):
            if index in self._pending:
                self._views[index].advance(self._pending[index], observation, info)
                task, step = self._keys[index]
                self._keys[index] = task, step + 1
        views = [self._views[index] for index in indices]
        chosen = self._choose(views, [self._keys[index] for index in indices])
        self._pending.update(zip(indices, map(int, chosen), strict=True))
        return [view.text(self._pending[index]) for index, view in zip(indices, views, strict=True)]

    def fork(self, source: int, target: int, attempt: int) -> None:
        """See `ForkingAgent.fork`."""
        self._views[target] = deepcopy(self._views[source])
        task, step = self._keys[source]
        self._keys[target] = branch_stream(task, attempt), step
        self._pending.pop(target, None)
        if source in self._pending:
            self._pending[target] = self._pending[source]

    def free(self, slot: int) -> None:
        """See `ForkingAgent.free`."""
        del self._views[slot], self._keys[slot]
        self._pending.pop(slot, None)


def random_candidates(*, seed: int = 0) -> CandidateAgent:
    """Return the agent that chooses candidates uniformly at random, the floor of the numeric form.

    Guessing is easier than in text: only calls with available arguments are candidates.
    """

    def choose(views: Sequence[CandidateView], keys: Sequence[tuple[str, int]]) -> list[int]:
        return [_draw(seed, *key) % len(view.candidates) for view, key in zip(views, keys, strict=True)]

    return CandidateAgent("random-candidates", choose)


def stack(views: Sequence[CandidateView]) -> dict[str, np.ndarray[Any, Any]]:
    """Stack the observations of views into one batch. Shapes: (views, ...) each."""
    observations = [view.observation() for view in views]
    return {name: np.stack([each[name] for each in observations]) for name in observations[0]}


def _draw(seed: int, task_id: str, step: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{task_id}/{step}".encode(), digest_size=8).digest(), "big")


def _level(task_id: str) -> str:
    try:
        _, level, *_ = read_task_id(task_id)
    except ConfigurationError as error:
        raise ConfigurationError(f"only ToolWorld has a numeric form: {error}") from error
    return level
