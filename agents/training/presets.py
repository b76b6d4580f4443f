"""The algorithms: the parts that can be combined, and the combinations that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

Credit = Literal["step", "end_sum"]
Advantage = Literal["step_gae", "reinforce", "rloo", "grpo", "step_grpo", "gigpo", "step_critic", "released"]
Loss = Literal["ppo", "policy_gradient"]
Algorithm = Literal[
    "steptool",
    "final",
    "final_dense_sum",
    "token_gae",
    "reinforce",
    "rloo",
    "grpo",
    "step_grpo",
    "gigpo",
    "archer",
    "released",
]


@dataclass(frozen=True)
class AlgorithmConfig:
    """What is computed from an episode's rewards. The fields are free to combine; `ALGORITHMS` names combinations."""

    credit: Credit = "step"
    """`step` leaves each reward at its step; `end_sum` gives their sum at the end."""
    advantage: Advantage = "step_gae"
    """The estimator: see `agents.training.advantages`."""
    loss: Loss = "ppo"
    """`ppo` clips the probability ratio; `policy_gradient` does not and is right for one epoch of one mini-batch."""
    ratio: Literal["token", "step"] = "token"
    """Probability ratio of each token, or the geometric mean of its step's."""
    gamma: float = 0.99
    """Discount per step."""
    lam: float = 0.95
    """Trace of `step_gae` per step."""
    lam_token: float = 1.0
    """Trace of `step_gae` per token inside a step."""
    omega: float = 1.0
    """Weight of GiGPO's step part."""
    whiten: bool = True
    """Shift and scale advantages to mean 0 and deviation 1 over the steps of an iteration."""
    group_size: int = 1
    """Episodes of each task in an iteration; group estimators need more than 1."""
    clip: float = 0.2
    """How far PPO's ratio may move from 1."""
    value_coef: float = 0.5
    """Weight of the critic's loss."""
    entropy_coef: float = 0.0
    """Weight of an entropy bonus. Other than 0 it keeps a second matrix of tokens x vocabulary in the backward pass."""
    kl_coef: float = 0.0
    """Weight of the divergence from the policy that training began with (k3 loss term); 0 keeps no such policy."""
    epochs: int = 2
    """Passes over the episodes of an iteration."""
    mini_batches: int = 2
    """Optimiser steps per pass; fewer, in proportion, where episodes teach nothing and are left out."""
    critic_epochs: int = 0
    """Further passes of a `detached` critic over the hidden states of an iteration, which are made once."""
    bootstrap: bool = False
    """Add the critic's value behind the last step of truncated episodes. The call budget terminates and a full context
    leaves no state to judge, so this applies to neither."""

    __pydantic_config__ = ConfigDict(extra="forbid")


_NO_CRITIC: dict[str, Any] = {"policy": {"value_trunk": "none"}}
_GROUPS: dict[str, Any] = {"value_coef": 0.0, "gamma": 1.0, "group_size": 8, "whiten": False}
_ONE_STEP: dict[str, Any] = {"loss": "policy_gradient", "epochs": 1, "mini_batches": 1, "value_coef": 0.0}
ALGORITHMS: dict[Algorithm, dict[str, Any]] = {
    "steptool": {},
    "final": {"env": {"reward": "final"}},
    "final_dense_sum": {"algorithm": {"credit": "end_sum"}},
    "token_gae": {"algorithm": {"gamma": 1.0, "lam": 0.95, "lam_token": 0.95}},
    "reinforce": {**_NO_CRITIC, "algorithm": {"advantage": "reinforce", **_ONE_STEP}},
    "rloo": {**_NO_CRITIC, "algorithm": {"advantage": "rloo", **_GROUPS}},
    "grpo": {**_NO_CRITIC, "algorithm": {"advantage": "grpo", **_GROUPS}},
    "step_grpo": {**_NO_CRITIC, "algorithm": {"advantage": "step_grpo", **_GROUPS}},
    "gigpo": {**_NO_CRITIC, "algorithm": {"advantage": "gigpo", **_GROUPS}},
    "archer": {**_NO_CRITIC, "algorithm": {"advantage": "step_critic", "value_coef": 0.0}},
    "released": {"env": {"reward": "steptool"}, "algorithm": {"advantage": "released"}},
}
"""What each name sets on top of the defaults."""
