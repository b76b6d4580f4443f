"""Settings of a policy's model. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

Dtype = Literal["float32", "bfloat16", "float64", "mixed"]
CriticKind = Literal["none", "shared", "detached", "separate"]


@dataclass(frozen=True)
class PolicyConfig:
    """The model that is trained."""

    model: str = "nano"
    """`nano`, `small` or `base` (from scratch), `smollm2` (SmolLM2-135M-Instruct, extra `smollm2`), or the folder or
    hub name of a pretrained causal model."""
    checkpoint: str = ""
    """Checkpoint to start from: its folder, or that of a run, whose newest checkpoint is taken; or `nano-sft`."""
    context: int = 1024
    """Context length in tokens; a longer episode ends with its last action that fits. At most that of the model, but
    `steptool sft` extends the context of a checkpoint of `nano`, `small` or `base`, unless it trains adapters."""
    critic: CriticKind = "shared"
    """Input of the value head: see `agents.models.policy.Policy`. Estimators without a critic need `none`."""
    dtype: Dtype = "float32"
    """Weight dtype. bfloat16 loses updates smaller than about 0.4 % of a weight, except those of adapters. `mixed`:
    float32 weights, multiplied in bfloat16 in training and not by the sampler, so ratios start near 1 only. The critic
    is in single precision or better."""
    lora_rank: int = 0
    """Rank of the LoRA adapters, which are trained in place of the weights; 0 trains all weights, or the adapters of
    `checkpoint` where it has some."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass, to save memory."""
    device: str = "cpu"
    """Device of the model: `cpu`, `cuda`, `cuda:1`, ... With several processes `cuda` gives each its own GPU."""

    __pydantic_config__ = ConfigDict(extra="forbid")
