"""The Gymnasium environment in which one tool call is one step."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any, Self

import gymnasium as gym
from gymnasium.error import ResetNeeded

from steptool_env.client import LocalToolClient, ToolClient
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.episode import Episode, Transition, step_episodes
from steptool_env.episodes.factory import EpisodeFactory
from steptool_env.episodes.rendering import render_episode
from steptool_env.episodes.snapshots import pack, unpack
from steptool_env.spaces import UnicodeText
from steptool_env.suites.base import TaskSuite

MAX_TEXT = 1_000_000
"""Characters that an observation or an action may have: a bound for the spaces, not a limit to plan with."""


class ToolEnv(gym.Env[str, str]):
    """Tool use, one call at a time. Generic over the suite of tasks; see the environments made of it.

    Args:
        suite: The tasks, and the tools that answer them.
        rules: Reward, format, prompt, call budget and observation length.
        client: Carries the calls; by default they go to the suite's tools in this process.
        render_mode: `"ansi"` or `None`.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self, suite: TaskSuite, config: EpisodeConfig, client: ToolClient | None = None, render_mode: str | None = None
    ) -> None:
        self.suite = suite
        self.config = config
        self.render_mode = render_mode
        self.observation_space = UnicodeText(MAX_TEXT)
        self.action_space = UnicodeText(MAX_TEXT)
        self.client = client or LocalToolClient(suite)
        self._owns_client = True
        self._factory = EpisodeFactory(suite, config)
        self._episode: Episode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the choice of task and of episode seed.
            options: `task`: an id or index, in place of the draw; `episode_seed`: the seed of the tools' state.

        Returns:
            The opening prompt, and `info` with `task_id`, `suite`, `messages`, `functions`, `format`, `calls_left`.
        """
        super().reset(seed=seed)
        self._episode = self._factory.start(self.np_random, options)
        return self._episode.prompt()

    def step(self, action: str) -> Transition:
        """Take one action: a call in the environment's format, or any other text (which is scored as such).

        Returns:
            Observation, reward, terminated, truncated and `info` with `status`, `provenance`, `reward_terms`,
            `calls_left`, `latency`; on the last step also `step_rewards`, `outcome` and `trajectory`.
            `transport_error` is there, and `outcome` is not, when the tools were out of reach.
        """
        if self.episode.over:
            raise ResetNeeded("the episode is over; call reset() before step()")
        return step_episodes(self.client, [(self.episode, action)])[0]

    def truncate(self) -> dict[str, Any]:
        """End the episode where it is, because the agent cannot go on (its context is full, say).

        Returns:
            `step_rewards`, `outcome` and `trajectory` of the steps that were taken.

        Raises:
            ResetNeeded: The episode is over.
        """
        if self.episode.over:
            raise ResetNeeded("the episode is over; call reset() before truncate()")
        return self.episode.truncate()

    @property
    def episode(self) -> Episode:
        """The current episode. Raises `ResetNeeded` before the first reset."""
        if self._episode is None:
            raise ResetNeeded("there is no episode yet; call reset() first")
        return self._episode

    def snapshot(self) -> bytes:
        """The episode and the random generator as bytes (JSON), for `restore` in any environment of the same kind."""
        return pack(self.episode, self.np_random, self._factory)

    def restore(self, snapshot: bytes) -> None:
        """Go back to where `snapshot` was taken; what follows is what would have followed then.

        Raises:
            DataError: These are not the bytes of a snapshot, or of an environment with other tasks, rules or rewards.
        """
        self._episode, self.np_random = unpack(snapshot, self._factory)

    def fork(self) -> Self:
        """A second environment of the same class at the same point.

        The two share the tasks, the way to the tools and what a subclass has added, which is copied shallowly.
        """
        self.episode  # noqa: B018 - raises `ResetNeeded` where there is none
        twin = copy(self)
        twin.observation_space = deepcopy(self.observation_space)
        twin.action_space = deepcopy(self.action_space)
        twin._owns_client = False
        return twin

    def render(self) -> str | None:
        """The episode so far as text, in `render_mode="ansi"`."""
        if self.render_mode is None:
            gym.logger.warn('render() needs a render mode: gym.make(..., render_mode="ansi")')
            return None
        return render_episode(self.episode)

    def close(self) -> None:
        """Close the connection to the tools; a fork leaves it to the environment that it came from."""
        if self._owns_client:
            self.client.close()

    def __getstate__(self) -> dict[str, Any]:
        """The environment without its live parts: an episode is pickled as its snapshot."""
        snapshot = None if self._episode is None else self.snapshot()
        return {**self.__dict__, "_episode": None, "_snapshot": snapshot}

    def __setstate__(self, state: dict[str, Any]) -> None:
        snapshot = state.pop("_snapshot")
        self.__dict__.update(state)
        if snapshot is not None:
            self.restore(snapshot)
