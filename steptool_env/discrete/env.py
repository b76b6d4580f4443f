"""Environment whose actions are candidate indices and whose observations are features."""

from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from steptool_env.discrete.features import CONTEXT, FEATURES
from steptool_env.discrete.view import CANDIDATES, CandidateView
from steptool_env.discrete.words import Lexicon
from steptool_env.env import ToolEnv

Features = dict[str, NDArray[Any]]


def features_space() -> spaces.Space[Any]:
    """Return the space of `CandidateView.observation`; boxes only, which every wrapper of Stable-Baselines3 takes."""
    return spaces.Dict(
        {
            "candidates": spaces.Box(-1.0, 1.0, (CANDIDATES * FEATURES,), np.float32),
            "context": spaces.Box(-1.0, 1.0, (CONTEXT,), np.float32),
            "mask": spaces.Box(0, 1, (CANDIDATES,), np.int8),
        }
    )


class DiscreteToolEnv(gym.Env[Features, np.int64]):
    """`ToolEnv` for libraries with numeric spaces, such as Stable-Baselines3.

    Every action is rendered as text for the text environment, so rewards, terms, outcome and trajectory are those of
    the text form.

    Args:
        text_env: Text environment; closed with this one.
        lexicon: Synonyms of field names; none by default.
    """

    metadata: dict[str, Any] = ToolEnv.metadata

    def __init__(self, text_env: ToolEnv, lexicon: Lexicon | None = None) -> None:
        self.text_env = text_env
        self.render_mode = text_env.render_mode
        self.lexicon: Lexicon = lexicon or {}
        self.action_space = spaces.Discrete(CANDIDATES)
        self.observation_space = features_space()
        self._view: CandidateView | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        """Start an episode. `seed`, `options` and `info` are those of the text environment."""
        super().reset(seed=seed)
        _, info = self.text_env.reset(seed=seed, options=options)
        self._view = CandidateView(info, self.lexicon)
        return self._view.observation(), info

    def step(self, action: SupportsInt) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        """Take the candidate at `action`. An empty slot is an invalid text, which costs a step.

        Returns:
            Observation, reward, terminated, truncated and the text environment's `info`, plus `text` (the action) and
            `answer` (the text observation).
        """
        view, index = self.view, int(action)
        text = view.text(index)
        answer, reward, terminated, truncated, info = self.text_env.step(text)
        view.advance(index, answer, info)
        return view.observation(), reward, terminated, truncated, {**info, "text": text, "answer": answer}

    @property
    def view(self) -> CandidateView:
        """Current candidates. Raises `ResetNeeded` before the first reset."""
        if self._view is None:
            raise ResetNeeded("there is no episode yet; call reset() first")
        return self._view

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask of occupied slots, for sb3-contrib's MaskablePPO. Shape: (CANDIDATES,)."""
        return self.view.mask()

    def render(self) -> Any:
        """Render the text environment."""
        return self.text_env.render()

    def close(self) -> None:
        """Close the text environment."""
        self.text_env.close()
