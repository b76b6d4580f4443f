"""Agents that choose among the candidates of the numeric twin, but act in the text environment.

So they are evaluated as every other agent is: the same episodes, the same metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from agents.base import Info
from steptool_env.discrete import CandidateView
from steptool_env.envs.toolworld_discrete import toolworld_lexicon
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import read_task_id


class Chooser(Protocol):
    """Chooses a candidate in each scene. `keys` tell the episodes and steps apart: task id and step number."""

    def __call__(self, scenes: Sequence[CandidateView], keys: Sequence[tuple[str, int]]) -> Sequence[int]:
        """The candidates' indices. Shape: (scenes,)."""
        ...


class CandidateAgent:
    """Follows every episode by a `CandidateView` and writes down the candidate that is chosen.

    Args:
        name: Name of the agent.
        choose: Chooses among the candidates.
    """

    def __init__(self, name: str, choose: Chooser) -> None:
        self.name = name
        self._choose = choose
        self._scenes: dict[int, CandidateView] = {}
        self._tasks: dict[int, str] = {}
        self._pending: dict[int, int] = {}
        self._steps: dict[int, int] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`. Raises `ConfigurationError` for a task that is not ToolWorld's."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            self._scenes[index] = CandidateView(info, toolworld_lexicon(_level(info["task_id"])))
            self._tasks[index], self._steps[index] = info["task_id"], 0
            self._pending.pop(index, None)

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        for index, observation, info in zip(indices, observations, infos, strict=True):
            if index in self._pending:
                self._scenes[index].advance(self._pending[index], observation, info)
                self._steps[index] += 1
        scenes = [self._scenes[index] for index in indices]
        chosen = self._choose(scenes, [(self._tasks[index], self._steps[index]) for index in indices])
        self._pending.update(zip(indices, map(int, chosen), strict=True))
        return [scene.text(self._pending[index]) for index, scene in zip(indices, scenes, strict=True)]


def random_candidates(*, seed: int = 0) -> CandidateAgent:
    """The floor of the numeric twin: any candidate, with the same probability.

    Guessing is easier here than in text, because only calls that can be written are listed.
    """

    def choose(scenes: Sequence[CandidateView], keys: Sequence[tuple[str, int]]) -> list[int]:
        return [_draw(seed, *key) % len(scene.candidates) for scene, key in zip(scenes, keys, strict=True)]

    return CandidateAgent("random-candidates", choose)


def stack(scenes: Sequence[CandidateView]) -> dict[str, np.ndarray[Any, Any]]:
    """The observations of scenes as one batch. Shapes: (scenes, ...) each."""
    observations = [scene.observation() for scene in scenes]
    return {name: np.stack([each[name] for each in observations]) for name in observations[0]}


def _draw(seed: int, task_id: str, step: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{task_id}/{step}".encode(), digest_size=8).digest(), "big")


def _level(task_id: str) -> str:
    try:
        _, level, *_ = read_task_id(task_id)
    except ConfigurationError as error:
        raise ConfigurationError(f"the numeric twin is of ToolWorld alone: {error}") from error
    return level
