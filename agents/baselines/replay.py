"""Replay of recorded episodes."""

import json
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from agents.base import EpisodeAgent, Info
from steptool_env.errors import DataError
from steptool_env.formats import Format, make_format
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.types import FINISH, GIVE_UP, Trajectory

_LISTED = 3  # tasks that a message names
_START = -1  # parent of the first calls of a search


@dataclass
class _Episode:
    """Recording, format of the environment, and the number of the last action, in the recorded search if any."""

    recorded: Trajectory
    format: Format
    last: int = _START


class ReplayAgent(EpisodeAgent[_Episode]):
    """Agent that repeats the recorded actions of each task, whatever the tools answer.

    An action keeps its text if the environment has the recorded format, else it is rendered in the environment's. The
    agent gives up after the last action of a recording without `Finish`. In a search (`--strategy`) a recorded search
    is repeated call by call: it tries in each state what the recording tried there, in the same order.
    """

    def __init__(self, episodes: Iterable[Trajectory], name: str = "replay") -> None:
        """`episodes` are looked up by suite and task id; of several for one task the first is used."""
        super().__init__(name)
        self._recorded: dict[tuple[str, str], Trajectory] = {}
        for episode in episodes:
            self._recorded.setdefault((episode.task.suite, episode.task.id), episode)

    @classmethod
    def from_path(cls, path: str) -> Self:
        """Read the recordings in a file or folder, see `read_recordings`. Raises `DataError` without any."""
        return cls(read_recordings(path), f"replay:{Path(path).stem}")

    def fork(self, source: int, target: int, attempt: int) -> None:
        """See `ForkingAgent.fork`. Copies share the recording."""
        del attempt
        self._episodes[target] = copy(self._episodes[source])

    def begin(self, info: Info) -> _Episode:
        """See `EpisodeAgent.begin`. Raises `DataError` for a task that was not recorded."""
        key = (info["suite"], info["task_id"])
        recorded = self._recorded.get(key) or self._of_another_set(info)
        if recorded is None:
            known = ["/".join(each) for each in self._recorded]
            listed = ", ".join(known[:_LISTED]) + (f" and {more} more" if (more := len(known) - _LISTED) > 0 else "")
            raise DataError(f"{self.name}: no recorded episode of {'/'.join(key)}; there are {listed or 'none'}")
        return _Episode(recorded, make_format(info["format"]))

    def decide(self, episode: _Episode, observation: str, info: Info) -> str:  # noqa: ARG002
        """See `EpisodeAgent.decide`."""
        action = _next_action(episode, info.get("attempt"))
        if action is None:
            return episode.format.render(FINISH, json.dumps({"return_type": GIVE_UP}))
        same_format = episode.recorded.metadata.get("format") == episode.format.name
        if same_format or not action["name"]:
            return str(action["text"])
        return episode.format.render(action["name"], action["arguments"], action["thought"])

    def _of_another_set(self, info: Info) -> Trajectory | None:
        """Return the recording of the same id and query in a file that is not named after a query set."""
        prompt = info["messages"][-1]["content"]
        same_id = (episode for (_, task), episode in self._recorded.items() if task == info["task_id"])
        return next((episode for episode in same_id if episode.task.query.strip() in prompt), None)


def _next_action(episode: _Episode, attempt: int | None) -> Mapping[str, Any] | None:
    """Return the next recorded action, and move to it; in a search the one of number `attempt` in this state."""
    steps, tree = episode.recorded.steps, episode.recorded.metadata.get("search_tree", ())
    if attempt is None or not tree:
        episode.last += 1
        there = episode.last < len(steps) and not attempt
        return asdict(steps[episode.last].action) if there else None
    children = [number for number, call in enumerate(tree) if call["parent"] == episode.last]
    if attempt >= len(children):
        return None
    episode.last = children[attempt]
    action: Mapping[str, Any] = tree[episode.last]["action"]
    return action
