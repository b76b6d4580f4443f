"""Vector environment: many episodes, whose calls of a step are sent together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from steptool_env.client import LocalToolClient, ToolClient
from steptool_env.env import MAX_TEXT, ToolEnv
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.episode import Episode, Transition, step_episodes
from steptool_env.episodes.factory import EpisodeFactory
from steptool_env.episodes.rendering import render_episode
from steptool_env.episodes.snapshots import pack, unpack
from steptool_env.errors import ConfigurationError
from steptool_env.spaces import UnicodeText
from steptool_env.suites.base import TaskSuite

Infos = dict[str, Any]
Texts = tuple[str, ...]
BoolArray = NDArray[np.bool_]


class ToolVectorEnv(VectorEnv[Texts, Sequence[str], NDArray[Any]]):
    """`num_envs` copies of `ToolEnv` that share the tasks and the client.

    It returns the same values as `gymnasium.vector.SyncVectorEnv` of `num_envs` `ToolEnv`s, but sends the calls of a
    step together. Observations and actions are tuples of texts. Shape: (num_envs,).

    Extension: in `options`, `task` and `episode_seed` may be lists with one entry per environment (`None`: sampled).

    Args:
        num_envs: Number of parallel episodes.
        suite: Tasks, and the tools that answer them.
        config: Reward, format, prompt, call budget and observation length.
        client: Client that sends the calls; by default to the suite's tools in this process.
        autoreset_mode: Reset after the end of an episode; `NextStep` by default.
        render_mode: `"ansi"`, `"rgb_array"` or `None`.
    """

    def __init__(
        self,
        num_envs: int,
        suite: TaskSuite,
        config: EpisodeConfig,
        client: ToolClient | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ConfigurationError(f"num_envs={num_envs}: must be at least 1")
        self.num_envs = num_envs
        self.suite = suite
        self.config = config
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.render_mode = render_mode
        self.metadata = {**ToolEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = UnicodeText(MAX_TEXT)
        self.single_action_space = UnicodeText(MAX_TEXT)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.client = client or LocalToolClient(suite)
        self._factory = EpisodeFactory(suite, config)
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._episodes: list[Episode] = []
        self._observations: list[Any] = [""] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Start an episode in every environment, or in those of `options["reset_mask"]`.

        Args:
            seed: One seed (environment `i` uses `seed + i`), or one per environment.
            options: `reset_mask` (environments to reset; shape (num_envs,), bool), `task`, `episode_seed`.
        """
        options = dict(options or {})
        mask = _reset_mask(options.pop("reset_mask", None), self.num_envs)
        if not self._episodes and not mask.all():
            raise ResetNeeded("the first reset must be of every environment; leave out options['reset_mask']")
        self._seed(seed, mask)
        episodes = {
            int(index): self._factory.start(self._rngs[index], _options_of(options, int(index), self.num_envs))
            for index in np.flatnonzero(mask)
        }
        self._episodes = self._episodes or list(episodes.values())
        rows = {index: self._put(index, episode) for index, episode in episodes.items()}
        return self._batch(), _batch_infos(rows, self.num_envs)

    def step(self, actions: Sequence[Any]) -> tuple[Any, NDArray[np.float64], BoolArray, BoolArray, Infos]:
        """Take one action in every environment.

        In `NextStep` mode an environment whose episode is over is reset, and its action is ignored.

        Returns:
            Observations, rewards, terminations, truncations (shape (num_envs,) each) and infos: per key an array over
            environments, and a mask under `_key`, as in Gymnasium's vector environments.
        """
        self._need_episodes()
        if len(actions) != self.num_envs:
            raise ConfigurationError(f"{len(actions)} actions were given for num_envs={self.num_envs}")
        resting = {index for index, episode in enumerate(self._episodes) if episode.over}
        if resting and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise ResetNeeded(f"the episodes of environments {sorted(resting)} are over; reset them by a reset_mask")
        moves = {i: (self._episodes[i], self._text(i, each)) for i, each in enumerate(actions) if i not in resting}
        return self._collect(dict(zip(moves, step_episodes(self.client, tuple(moves.values())), strict=True)))

    def truncate(self, index: int) -> dict[str, Any]:
        """End the episode of one environment, as `ToolEnv.truncate` does. It needs a reset before its next step."""
        self._need_episodes()
        if self._episodes[index].over:
            raise ResetNeeded(f"the episode of environment {index} is over; reset it before truncate()")
        return self._episodes[index].truncate()

    def snapshot(self, index: int) -> bytes:
        """Snapshot of one environment; see `ToolEnv.snapshot`."""
        self._need_episodes()
        return pack(self._episodes[index], self._rngs[index], self._factory)

    def restore(self, index: int, snapshot: bytes) -> None:
        """Continue one environment from a snapshot.

        Raises:
            DataError: See `ToolEnv.restore`.
            ResetNeeded: There was no reset yet.
        """
        self._need_episodes()
        self._episodes[index], self._rngs[index] = unpack(snapshot, self._factory)
        self._observations[index] = self._episodes[index].observation

    def render(self) -> tuple[Any, ...] | None:
        """Return every episode so far as text (`ansi`) or as an image (`rgb_array`)."""
        mode = self.render_mode
        return tuple(render_episode(episode, mode) for episode in self._episodes) if mode else None

    def close_extras(self, **_: Any) -> None:
        """Close the client."""
        self.client.close()

    def _need_episodes(self) -> None:
        if not self._episodes:
            raise ResetNeeded("there is no episode yet; call reset() first")

    def _seed(self, seed: int | Sequence[int | None] | None, mask: BoolArray) -> None:
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + index for index in range(self.num_envs)]
        if seed is None:
            return
        if len(seed) != self.num_envs:
            raise ConfigurationError(f"seed: {len(seed)} seeds were given for num_envs={self.num_envs}")
        for index, one in enumerate(seed):
            if mask[index] and one is not None:
                self._rngs[index] = seeding.np_random(one)[0]

    # A subclass with another form of actions and observations overrides the following four.
    def _text(self, index: int, action: Any) -> str:
        """Return the action of environment `index` as text."""
        del index
        text: str = action
        return text

    def _observe(self, index: int, transition: Transition) -> Infos:
        """Store the observation of a step in environment `index`. Return its info."""
        self._observations[index] = transition.observation
        return transition.info

    def _batch(self) -> Any:
        """Return the current observations of all environments."""
        return tuple(self._observations)

    def _put(self, index: int, episode: Episode) -> Infos:
        """Start `episode` in environment `index`. Return its info."""
        self._episodes[index] = episode
        self._observations[index], info = episode.prompt()
        return info

    def _collect(
        self, transitions: Mapping[int, Transition]
    ) -> tuple[Any, NDArray[np.float64], BoolArray, BoolArray, Infos]:
        """Return the transitions as arrays, and start new episodes as the autoreset mode requires."""
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        rows: dict[int, Infos] = {}
        for index in range(self.num_envs):
            transition = transitions.get(index)
            if transition is None:
                rows[index] = self._put(index, self._new_episode(index))
                continue
            _, rewards[index], terminations[index], truncations[index], _ = transition
            info = self._observe(index, transition)
            if self.autoreset_mode is AutoresetMode.SAME_STEP and (transition.terminated or transition.truncated):
                final = {"final_obs": self._observations[index], "final_info": info}
                info = final | self._put(index, self._new_episode(index))
            rows[index] = info
        infos = _batch_infos(rows, self.num_envs)
        return self._batch(), rewards, terminations, truncations, infos

    def _new_episode(self, index: int) -> Episode:
        return self._factory.start(self._rngs[index], None)


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        valid = ", ".join(repr(entry.value) for entry in AutoresetMode)
        raise ConfigurationError(f"autoreset_mode={mode!r}: must be one of {valid}") from None


def _reset_mask(mask: Any, num_envs: int) -> BoolArray:
    if mask is None:
        return np.ones(num_envs, dtype=np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        raise ConfigurationError(f"options['reset_mask']={mask!r}: must be a bool array of shape ({num_envs},)")
    if not mask.any():
        raise ConfigurationError("options['reset_mask']: must be true for at least one environment")
    return mask


def _options_of(options: Mapping[str, Any], index: int, num_envs: int) -> dict[str, Any]:
    """Options of one environment: entry `index` of each list."""
    chosen = {}
    for name, value in options.items():
        if isinstance(value, list | tuple | np.ndarray):
            if len(value) != num_envs:
                raise ConfigurationError(f"options[{name!r}]: {len(value)} entries were given for num_envs={num_envs}")
            value = value[index]
        if value is not None:
            chosen[name] = value
    return chosen


def _batch_infos(rows: Mapping[int, Mapping[str, Any]], num_envs: int) -> Infos:
    """Return the same as Gymnasium's `VectorEnv._add_info`, several times faster.

    Args:
        rows: Info by index of the environment, in ascending order.
        num_envs: Length of the columns.

    Returns:
        Per key a column (numbers as a numeric array, dictionaries as nested columns, others as objects), and under
        `_key` the mask of the environments with this key. Shape of columns and masks: (num_envs,).
    """
    cells: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    for index, row in rows.items():
        for key, value in row.items():
            cells[key][index] = value
    infos: Infos = {}
    everywhere = np.ones(num_envs, np.bool_)  # copied, which is faster than creating
    for key, column in cells.items():
        infos[key] = _column(key, column, num_envs)
        infos[f"_{key}"] = everywhere.copy() if len(column) == num_envs else _mask(column, num_envs)
    return infos


def _column(key: str, column: dict[int, Any], num_envs: int) -> Any:
    first = next(iter(column.values()))
    if isinstance(first, dict) and key != "final_obs":
        return _batch_infos(column, num_envs)
    kind: Any = type(first) if type(first) in (int, float, bool) and key != "final_obs" else object
    values = np.fromiter(column.values(), kind, len(column))
    if len(column) == num_envs:
        return values
    spread = np.zeros(num_envs, kind) if kind is not object else np.full(num_envs, None, kind)
    spread[list(column)] = values
    return spread


def _mask(column: dict[int, Any], num_envs: int) -> Any:
    mask = np.zeros(num_envs, np.bool_)
    mask[list(column)] = True
    return mask
