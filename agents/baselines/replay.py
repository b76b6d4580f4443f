"""Replay of recorded episodes."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agents.base import EpisodeAgent, Info
from steptool_env.errors import DataError
from steptool_env.formats import Format, make_format
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.types import FINISH, GIVE_UP, Trajectory


@dataclass
class _Episode:
    recorded: Trajectory
    format: Format
    next: int = 0


class ReplayAgent(EpisodeAgent[_Episode]):
    """Agent that repeats the recorded actions of each task, whatever the tools answer.

    An action keeps its text if the environment has the recorded format, else it is rendered in the environment's. The
    agent gives up after the last action of a recording without `Finish`.
    """

    def __init__(self, episodes: Iterable[Trajectory], name: str = "replay") -> None:
        """`episodes` are looked up by suite and task id; of several for one task the first is used."""
        super().__init__(name)
        self._recorded: dict[tuple[str, str], Trajectory] = {}
        for episode in episodes:
            self._recorded.setdefault((episode.task.suite, episode.task.id), episode)

    @classmethod
    def from_path(cls, path: str) -> Self:
        """Read the recordings in a file or folder, see `read_recordings`. Raises `DataError` if there are none."""
        return cls(read_recordings(path), f"replay:{Path(path).stem}")

    def begin(self, info: Info) -> _Episode:
        """See `EpisodeAgent.begin`. Raises `DataError` for a task that was not recorded."""
        key = (info["suite"], info["task_id"])
        if key not in self._recorded:
            known = ", ".join(f"{suite}/{task}" for suite, task in list(self._recorded)[:3])
            raise DataError(f"{self.name}: no recorded episode of {'/'.join(key)}; there are {known}, ...")
        return _Episode(self._recorded[key], make_format(info["format"]))

    def decide(self, episode: _Episode, observation: str, info: Info) -> str:  # noqa: ARG002
        """See `EpisodeAgent.decide`."""
        steps = episode.recorded.steps
        if episode.next >= len(steps):
            return episode.format.render(FINISH, json.dumps({"return_type": GIVE_UP}))
        action = steps[episode.next].action
        episode.next += 1
        same_format = episode.recorded.metadata.get("format") == episode.format.name
        if same_format or not action.name:
            return action.text
        return episode.format.render(action.name, action.arguments, action.thought)
