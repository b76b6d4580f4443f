"""Policies for Stable-Baselines3 that score every candidate with the same small network.

Candidates have no order, so one scorer serves all slots; a flat network would learn each slot separately.
"""

from typing import Any

import torch
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from torch import Tensor, nn

from steptool_env.discrete.features import CONTEXT, FEATURES
from steptool_env.discrete.view import CANDIDATES

_ABSENT = -1e4
_WIDTH = 128  # of hidden layers


class CandidateScorer(nn.Module):
    """Features extractor: logits of the candidates, and input of the value head. `width` is that of hidden layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = CANDIDATES, width
        inputs = FEATURES + CONTEXT
        self.encode = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.score = nn.Linear(width, 1)
        self.value = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (batch, CANDIDATES) and value features (batch, width)."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Return logits (batch, CANDIDATES)."""
        inputs, mask = _present(features)
        logits = torch.full(mask.shape, _ABSENT, device=features.device)
        logits[mask] = self.score(self.encode(inputs)).squeeze(-1)
        return logits

    def forward_critic(self, features: Tensor) -> Tensor:
        """Return the maximum over the candidates' encodings (batch, width)."""
        inputs, mask = _present(features)
        encoded = torch.zeros(*mask.shape, self.latent_dim_vf, device=features.device)
        encoded[mask] = self.value(inputs)
        return encoded.amax(dim=1)


def _present(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs of the existing candidates, and the mask. About four of five slots are empty.

    Args:
        features: Parts of the observation in the order of their names, as SB3's `CombinedExtractor` concatenates them.
            Shape: (batch, CANDIDATES * FEATURES + CONTEXT + CANDIDATES).

    Returns:
        Inputs (present, FEATURES + CONTEXT) and mask (batch, CANDIDATES).
    """
    flat, context, slots = torch.split(features, [CANDIDATES * FEATURES, CONTEXT, CANDIDATES], dim=1)
    mask = slots > 0.5
    candidates = flat.view(-1, CANDIDATES, FEATURES)[mask]
    return torch.cat([candidates, context[mask.nonzero()[:, 0]]], dim=1), mask


class _Scoring:
    """Base of both policies: the scorer replaces the flat networks."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = CandidateScorer(_WIDTH)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        # The scorer returns logits. The optimizer must not hold the replaced flat layer.
        self.action_net = nn.Identity()
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[attr-defined]


class ScoringPolicy(_Scoring, MultiInputActorCriticPolicy):  # type: ignore[misc]
    """Policy for `stable_baselines3.PPO`: `PPO(ScoringPolicy, env)`."""


class MaskableScoringPolicy(_Scoring, MaskableMultiInputActorCriticPolicy):  # type: ignore[misc]
    """Policy for `sb3_contrib.MaskablePPO`: `MaskablePPO(MaskableScoringPolicy, env)`."""
