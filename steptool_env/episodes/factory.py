"""Creation of episodes from a suite, a configuration and a random generator."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.episode import Episode
from steptool_env.episodes.records import JsonObject, read_step, step_record
from steptool_env.errors import ConfigurationError
from steptool_env.suites.base import TaskSuite
from steptool_env.types import Task

_OPTIONS = ("task", "episode_seed")
_SEEDS = 2**63


class EpisodeFactory:
    """Starts episodes, and restores them from records."""

    def __init__(self, suite: TaskSuite, config: EpisodeConfig) -> None:
        self.suite = suite
        self.config = config

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Settings that two environments must share to exchange snapshots: JSON values by group and name."""
        groups = {
            "suite": {"name": self.suite.name, **self.suite.settings},
            "rules": self.config.record(),
            "reward": self.config.reward_settings,
        }
        return cast("dict[str, Any]", json.loads(json.dumps(groups, default=_class_name)))

    def start(self, rng: np.random.Generator, options: Mapping[str, Any] | None) -> Episode:
        """A new episode.

        Two numbers are drawn from `rng` regardless of the options, so a chosen task does not change later episodes.

        Args:
            rng: Random generator for the task and the episode seed.
            options: `task` (id, or index into the suite) and `episode_seed`, instead of the random ones.

        Raises:
            ConfigurationError: An option or the task is unknown.
        """
        options = options or {}
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise ConfigurationError(f"options {', '.join(unknown)}: unknown; must be among {', '.join(_OPTIONS)}")
        index, seed = int(rng.integers(len(self.suite))), int(rng.integers(_SEEDS, dtype=np.uint64))
        task = self._find(options.get("task"), index)
        seed = _episode_seed(options.get("episode_seed", seed))
        task = self._opened(task, seed)
        return Episode(task, self.config, task.state, seed)

    def record(self, episode: Episode) -> JsonObject:
        """An episode as a JSON object: the task's id, the state token and the steps."""
        codec = None if isinstance(episode.state, str) else self.suite.service().codec
        return {
            "task": episode.task.id,
            "seed": episode.seed,
            "state": episode.state if codec is None else codec.token_of(episode.state),
            "lost": episode.lost,
            "truncated": episode.truncated,
            "steps": [step_record(step) for step in episode.steps],
        }

    def restore(self, record: JsonObject) -> Episode:
        """Return the episode of a record made by `record`. Raises `KeyError` and the like for others."""
        task = self._opened(self.suite.find(record["task"]), record["seed"])
        episode = Episode(task, self.config, record["state"], record["seed"])
        return episode.resume(map(read_step, record["steps"]), record["lost"], bool(record["truncated"]))

    def _opened(self, task: Task, seed: int) -> Task:
        """Return `task` with the initial state token of this episode, for scorers and trajectories."""
        state = self.suite.initial_state(task, seed)
        return replace(task, state=state) if state else task

    def _find(self, choice: Any, index: int) -> Task:
        if choice is None:
            return self.suite.task(index)
        if isinstance(choice, str):
            return self.suite.find(choice)
        if _is_integer(choice) and 0 <= choice < len(self.suite):
            return self.suite.task(int(choice))
        raise ConfigurationError(
            f"options['task']={choice!r}: must be a task's id, or an index from 0 to {len(self.suite) - 1}"
        )


def _episode_seed(seed: Any) -> int:
    if _is_integer(seed) and 0 <= seed < _SEEDS:
        return int(seed)
    raise ConfigurationError(f"options['episode_seed']={seed!r}: must be an integer from 0 to 2**63 - 1")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _class_name(thing: Any) -> str:
    """Return the class name of a reward option that is not a JSON value, such as a judge object."""
    return f"{type(thing).__module__}:{type(thing).__qualname__}"
