"""Replay of recorded episodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.base import Info
from steptool_env.errors import DataError
from steptool_env.formats import Format, make_format
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.types import FINISH, GIVE_UP, Trajectory


@dataclass
class _Episode:
    recorded: Trajectory
    format: Format
    next: int = 0


class ReplayAgent:
    """Agent that repeats the recorded actions of each task, whatever the tools answer.

    An action keeps its text if the environment has the recorded format, else it is rendered in the environment's. The
    agent gives up after the last action of a recording without `Finish`.
    """

    def __init__(self, episodes: Iterable[Trajectory], name: str = "replay") -> None:
        """`episodes` are looked up by suite and task id; of several for one task the first is used."""
        self.name = name
        self._recorded: dict[tuple[str, str], Trajectory] = {}
        for episode in episodes:
            self._recorded.setdefault((episode.task.suite, episode.task.id), episode)
        self._episodes: dict[int, _Episode] = {}

    @classmethod
    def from_path(cls, path: str) -> ReplayAgent:
        """Read the recordings in a file or folder, see `read_recordings`. Raises `DataError` if there are none."""
        return cls(read_recordings(path), f"replay:{Path(path).stem}")

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`. Raises `DataError` for a task that was not recorded."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            key = (info["suite"], info["task_id"])
            if key not in self._recorded:
                known = ", ".join(f"{suite}/{task}" for suite, task in list(self._recorded)[:3])
                raise DataError(f"{self.name}: no recorded episode of {'/'.join(key)}; there are {known}, ...")
            self._episodes[index] = _Episode(self._recorded[key], make_format(info["format"]))

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        del observations, infos
        return [_act(self._episodes[index]) for index in indices]


def _act(episode: _Episode) -> str:
    steps = episode.recorded.steps
    if episode.next >= len(steps):
        return episode.format.render(FINISH, json.dumps({"return_type": GIVE_UP}))
    action = steps[episode.next].action
    episode.next += 1
    same_format = episode.recorded.metadata.get("format") == episode.format.name
    if same_format or not action.name:
        return action.text
    return episode.format.render(action.name, action.arguments, action.thought)
