"""Vector environment of the numeric form: many episodes, whose calls of a step are sent together."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from steptool_env.discrete.env import features_space
from steptool_env.discrete.view import CANDIDATES, CandidateView
from steptool_env.discrete.words import Lexicon
from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Episode, Transition
from steptool_env.vector import Infos, ToolVectorEnv


class DiscreteToolVectorEnv(ToolVectorEnv):
    """`num_envs` copies of `DiscreteToolEnv` that share the tasks and the client.

    It returns the same values as `gymnasium.vector.SyncVectorEnv` of `num_envs` `DiscreteToolEnv`s, but sends the calls
    of a step together. Actions are candidate indices. Shape: (num_envs,).

    Args:
        num_envs: Number of parallel episodes.
        text_env: Text environment with the tasks, the configuration and the client.
        lexicon: Synonyms of field names.
        autoreset_mode: Reset after the end of an episode; `NextStep` by default.
    """

    def __init__(
        self,
        num_envs: int,
        text_env: ToolEnv,
        lexicon: Lexicon,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        super().__init__(
            num_envs, text_env.suite, text_env.config, text_env.client, autoreset_mode, text_env.render_mode
        )
        self.lexicon = lexicon
        single: Any = features_space()
        self.single_observation_space = single
        self.single_action_space: Any = spaces.Discrete(CANDIDATES)
        self.observation_space = batch_space(single, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._views: dict[int, CandidateView] = {}
        self._actions: dict[int, int] = {}

    def action_masks(self) -> Any:
        """Return the masks of occupied slots, for MaskablePPO. Shape: (num_envs, CANDIDATES)."""
        self._need_episodes()
        return np.stack([self._views[index].mask() for index in range(self.num_envs)])

    def restore(self, index: int, snapshot: bytes) -> None:
        """Continue one environment from a snapshot of it or of the text form. See `ToolVectorEnv.restore`."""
        super().restore(index, snapshot)
        self._views[index] = view = self._view_of(self._episodes[index])
        self._observations[index] = view.observation()

    def _text(self, index: int, action: Any) -> str:
        self._actions[index] = int(action)
        return self._views[index].text(int(action))

    def _observe(self, index: int, transition: Transition) -> Infos:
        view, action = self._views[index], self._actions[index]
        text = view.text(action)
        view.advance(action, transition.observation, transition.info)
        self._observations[index] = view.observation()
        return {**transition.info, "text": text, "answer": transition.observation}

    def _put(self, index: int, episode: Episode) -> Infos:
        info = super()._put(index, episode)
        self._views[index] = view = CandidateView(info, self.lexicon)
        self._observations[index] = view.observation()
        return info

    def _view_of(self, episode: Episode) -> CandidateView:
        """Return the view after the steps of `episode`."""
        budget = self.config.call_budget
        view = CandidateView({**episode.prompt()[1], "calls_left": budget}, self.lexicon)
        for number, step in enumerate(episode.steps, 1):
            texts = (index for index in range(CANDIDATES) if view.text(index) == step.action.text)
            info = {"status": int(step.status), "calls_left": budget - number}
            view.advance(next(texts, -1), step.observation, info)
        return view

    def _batch(self) -> Any:
        return {name: np.stack([each[name] for each in self._observations]) for name in self._observations[0]}
