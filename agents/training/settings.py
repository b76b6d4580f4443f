"""Settings of the algorithm, the optimizer and ArCHer's critic, and the named algorithms. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from steptool_env.registry import Registry

_STRICT = ConfigDict(extra="forbid")

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

CRITIC_ESTIMATORS = ("step_gae", "released")
"""Built-in estimators that read the critic's values."""
GROUP_ESTIMATORS = ("rloo", "grpo", "step_grpo", "gigpo")
"""Built-in estimators that compare the episodes of a group."""
ESTIMATORS: Registry[Any] = Registry(
    "estimator",
    dict.fromkeys(
        (*CRITIC_ESTIMATORS, "reinforce", *GROUP_ESTIMATORS, "step_critic"), "agents.training.advantages:built_in"
    ),
)
"""Estimators by name; see `agents.training.advantages.make_estimator`."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """Rewards, advantages and loss. The fields are free to combine; `ALGORITHMS` names combinations."""

    reward_timing: Literal["per_step", "terminal_sum"] = "per_step"
    """`per_step` leaves each reward at its step; `terminal_sum` pays their sum at the last step."""
    advantage: str = "step_gae"
    """Advantage estimator: `step_gae`, `reinforce`, `rloo`, `grpo`, `step_grpo`, `gigpo`, `step_critic` (ArCHer),
    `released`, or `module:factory`; see `agents.training.advantages`."""
    ratio: Literal["token", "step"] = "token"
    """Probability ratio of PPO's loss: per token, or per step the geometric mean of its tokens'."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """GAE's lambda per step."""
    gae_lambda_token: float = 1.0
    """GAE's lambda per token inside a step."""
    step_advantage_weight: float = 1.0
    """Weight of the step advantage in GiGPO."""
    normalize_advantage: bool = True
    """Normalise advantages to mean 0 and standard deviation 1 over the steps of an iteration."""
    group_size: int = 1
    """Episodes per task in an iteration; estimators that compare groups need more than 1."""
    clip_coef: float = 0.2
    """Clip range of the probability ratio around 1."""
    vf_coef: float = 0.5
    """Coefficient of the value loss."""
    ent_coef: float = 0.0
    """Coefficient of the entropy bonus. Other than 0 it doubles the memory of the logits."""
    kl_coef: float = 0.0
    """Coefficient of the KL divergence from the policy that training started with (k3 estimate); 0 keeps no copy."""
    epochs: int = 2
    """Passes over the episodes of an iteration."""
    mini_batches: int = 2
    """Optimizer steps per pass; fewer, in proportion, where episodes have no advantage and are left out."""
    critic_epochs: int = 0
    """Additional passes of a `detached` critic over the hidden states of an iteration, which are computed once."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and the size of forward passes."""

    lr: float = 3e-4
    """Learning rate of the language model."""
    value_lr: float = 1e-3
    """Learning rate of the critic."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    max_tokens: int = 0
    """Maximum number of padded tokens of a forward pass: speed and memory, not the result. 0 suits the device."""
    autocast: bool = False
    """Multiply in bfloat16 in training: faster, less exact. The sampler does not, so ratios start near 1 only."""

    __pydantic_config__ = _STRICT

    def tokens_on(self, device_type: str) -> int:
        """Maximum number of padded tokens of a forward pass on `cpu`, where a layer's then fit its caches, or a GPU."""
        return self.max_tokens or (2048 if device_type == "cpu" else 16384)


@dataclass(frozen=True)
class StepCriticConfig:
    """ArCHer's critic (`algorithm.advantage=step_critic`). `optim.value_lr` is its learning rate."""

    updates: int = 16
    """Optimizer steps of the critic per iteration."""
    batch_steps: int = 32
    """Replayed steps (tool calls) per optimizer step; the policy samples a new action in the state of each."""

    __pydantic_config__ = _STRICT


_NO_CRITIC: dict[str, Any] = {"policy": {"critic": "none"}}
_GROUPS: dict[str, Any] = {"vf_coef": 0.0, "gamma": 1.0, "group_size": 8, "normalize_advantage": False}
ALGORITHMS: dict[Algorithm, dict[str, Any]] = {
    "steptool": {},
    "final": {"env": {"reward": "final"}},
    "final_dense_sum": {"algorithm": {"reward_timing": "terminal_sum"}},
    "token_gae": {"algorithm": {"gamma": 1.0, "gae_lambda": 0.95, "gae_lambda_token": 0.95}},
    "reinforce": {
        **_NO_CRITIC,
        "algorithm": {"advantage": "reinforce", "epochs": 1, "mini_batches": 1, "vf_coef": 0.0},
    },
    "rloo": {**_NO_CRITIC, "algorithm": {"advantage": "rloo", **_GROUPS}},
    "grpo": {**_NO_CRITIC, "algorithm": {"advantage": "grpo", **_GROUPS}},
    "step_grpo": {**_NO_CRITIC, "algorithm": {"advantage": "step_grpo", **_GROUPS}},
    "gigpo": {**_NO_CRITIC, "algorithm": {"advantage": "gigpo", **_GROUPS}},
    "archer": {**_NO_CRITIC, "algorithm": {"advantage": "step_critic", "vf_coef": 0.0}},
    "released": {"env": {"reward": "steptool"}, "algorithm": {"advantage": "released"}},
}
"""Settings of each algorithm, on top of the defaults."""
