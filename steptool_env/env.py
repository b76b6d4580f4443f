"""The Gymnasium environment in which one tool call is one step."""

import sys
from copy import copy, deepcopy
from typing import Any, Self

import gymnasium as gym
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import TimeLimit

from steptool_env.client import LocalToolClient, ToolClient
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.episode import Episode, Transition, step_episodes
from steptool_env.episodes.factory import EpisodeFactory
from steptool_env.episodes.rendering import RENDER_MODES, render_episode
from steptool_env.episodes.snapshots import pack, unpack
from steptool_env.errors import ConfigurationError
from steptool_env.spaces import UnicodeText
from steptool_env.suites.base import TaskSuite

MAX_TEXT = 1_000_000
"""Maximum length of an observation or action, in characters; a bound for the spaces only."""


class ToolEnv(gym.Env[str, str]):
    """Tool use, one call per step, for any suite of tasks.

    Args:
        suite: Tasks, and the tools that answer them.
        config: Reward, format, prompt, call budget and observation length.
        client: Client that sends the calls; by default to the suite's tools in this process.
        render_mode: `"ansi"`, `"rgb_array"` or `None`.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it

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
            seed: Seed of the choice of task and of episode seed.
            options: `task`: id or index of the task; `episode_seed`: seed of the tools' state. Default: sampled.

        Returns:
            Prompt, and `info` with `task_id`, `suite`, `messages`, `functions`, `tools`, `format`, `calls_left`.

        Raises:
            ConfigurationError: An option is unknown, or Gymnasium's `TimeLimit` wraps the environment.
        """
        super().reset(seed=seed)
        _refuse_time_limit(self)
        self._episode = self._factory.start(self.np_random, options)
        return self._episode.prompt()

    def step(self, action: str) -> Transition:
        """Take one action: a call in the environment's format, or any other text (a failed call).

        Returns:
            Observation, reward, terminated, truncated and `info` with `status`, `provenance`, `reward_terms`,
            `calls_left`, `latency`; on the last step also `step_rewards`, `outcome` and `trajectory`.
            If the tools are unreachable, `transport_error` replaces `outcome`.
        """
        episode = self.episode
        if episode.over:
            raise ResetNeeded("the episode is over; call reset() before step()")
        return step_episodes(self.client, [(episode, action)])[0]

    def truncate(self) -> dict[str, Any]:
        """End the episode because the agent cannot continue (for example, its context is full).

        Returns:
            `step_rewards`, `outcome` and `trajectory` of the steps so far.

        Raises:
            ResetNeeded: The episode is over.
        """
        if self.episode.over:
            raise ResetNeeded("the episode is over; call reset() before truncate()")
        return self.episode.truncate()

    @property
    def episode(self) -> Episode:
        """Current episode. Raises `ResetNeeded` before the first reset."""
        if self._episode is None:
            raise ResetNeeded("there is no episode yet; call reset() first")
        return self._episode

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the tasks (`suite`), the episodes (`rules`) and the rewards (`reward`): JSON values by name."""
        return self._factory.identity

    def snapshot(self) -> bytes:
        """Return the episode and the random generator as JSON bytes, for `restore` in an equal environment."""
        return pack(self.episode, self.np_random, self._factory)

    def restore(self, snapshot: bytes) -> None:
        """Continue from `snapshot`; the same actions then give the same results.

        Raises:
            DataError: Invalid snapshot, or one of an environment with other tasks, settings or rewards.
        """
        self._episode, self.np_random = unpack(snapshot, self._factory)

    def fork(self) -> Self:
        """Return a second environment of the same class in the same state.

        The two share the tasks and the client. Attributes of a subclass are copied shallowly.
        """
        self.episode  # noqa: B018 - raises `ResetNeeded` before the first reset
        copied = copy(self)
        copied.observation_space = deepcopy(self.observation_space)
        copied.action_space = deepcopy(self.action_space)
        copied._owns_client = False
        return copied

    def render(self) -> Any:
        """Return the episode so far as text (`ansi`), or its last lines as an image (`rgb_array`)."""
        if self.render_mode is None:
            gym.logger.warn('render() needs a render mode: gym.make(..., render_mode="ansi")')
            return None
        return render_episode(self.episode, self.render_mode)

    def close(self) -> None:
        """Close the client; a fork leaves it to its original environment."""
        if self._owns_client:
            self.client.close()

    def __getstate__(self) -> dict[str, Any]:
        snapshot = None if self._episode is None else self.snapshot()
        return {**self.__dict__, "_episode": None, "_snapshot": snapshot}

    def __setstate__(self, state: dict[str, Any]) -> None:
        snapshot = state.pop("_snapshot")
        self.__dict__.update(state)
        if snapshot is not None:
            self.restore(snapshot)


def _refuse_time_limit(env: ToolEnv) -> None:
    """Raise `ConfigurationError` where `TimeLimit` resets the environment.

    The wrapper ends an episode without telling the environment, so that its last step has no `step_rewards`, `outcome`
    and `trajectory`. An environment does not see its wrappers; the calls that lead to its reset show them.
    """
    frame = sys._getframe(1)
    while (caller := frame.f_back) is not None:
        frame = caller
        if frame.f_code is not TimeLimit.reset.__code__:
            continue
        wrapper = frame.f_locals["self"]
        if getattr(wrapper.unwrapped, "text_env", wrapper.unwrapped) is env:
            limit = wrapper._max_episode_steps
            raise ConfigurationError(
                f"max_episode_steps={limit}: Gymnasium's TimeLimit ends episodes without step_rewards, outcome and "
                f"trajectory; leave it out, and give call_budget={limit} to gym.make"
            )
