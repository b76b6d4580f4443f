"""A policy with what belongs to it: the tokenizer and the codec. Built from a configuration or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from agents import checkpoint
from agents.codec import ChatCodec, Codec, PlainCodec
from agents.config import PolicyConfig
from agents.errors import CheckpointError, ModelError
from agents.model import SHAPES, build_decoder, load_pretrained
from agents.policy import Policy
from agents.tokenizer import ACT


@dataclass(frozen=True)
class Learner:
    """A policy, its tokenizer, its codec and its context length in tokens."""

    policy: Policy
    tokenizer: PreTrainedTokenizerBase
    codec: Codec
    context: int


def build_learner(config: PolicyConfig, tokenizer: PreTrainedTokenizerBase | None = None, seed: int = 0) -> Learner:
    """The learner that a configuration describes.

    Args:
        config: Names a checkpoint, a size to build from scratch, or a pretrained model.
        tokenizer: Needed for a size to build from scratch.
        seed: Of fresh weights.

    Raises:
        ModelError: The configuration names no usable model.
        CheckpointError: The checkpoint cannot be used.
    """
    dtype = cast(torch.dtype, getattr(torch, config.dtype))
    if config.checkpoint:
        return _from_checkpoint(config, dtype)
    if config.model not in SHAPES:
        model, own = load_pretrained(
            config.model,
            dtype=dtype,
            gradient_checkpointing=config.gradient_checkpointing,
            lora_rank=config.lora_rank,
        )
        return _learner(Policy(model, config.value_trunk), own, config, dtype)
    if tokenizer is None:
        raise ModelError(
            f"policy.model={config.model} starts from scratch and needs a tokenizer: train it first with "
            "`steptool sft`, then set policy.checkpoint"
        )
    model = build_decoder(SHAPES[config.model], tokenizer, config.context, seed)
    return _learner(Policy(model, config.value_trunk), tokenizer, config, dtype)


def load_learner(folder: Path, *, device: str = "cpu") -> Learner:
    """The learner of a checkpoint, to act (without its critic)."""
    config = PolicyConfig(checkpoint=str(folder), value_trunk="none", device=device, context=0)
    return build_learner(config)


def _from_checkpoint(config: PolicyConfig, dtype: torch.dtype) -> Learner:
    folder = Path(config.checkpoint)
    architecture = checkpoint.load_architecture(folder)
    kind = architecture.pop("model_type", None)
    try:
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, then overwritten
            model = cast(Any, AutoModelForCausalLM).from_config(AutoConfig.for_model(str(kind), **architecture))
        tokenizer = AutoTokenizer.from_pretrained(str(folder / "tokenizer"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the model cannot be rebuilt: {error}") from error
    policy = Policy(model, config.value_trunk)
    checkpoint.load_weights(folder, policy)
    return _learner(policy, tokenizer, config, dtype)


def _learner(policy: Policy, tokenizer: PreTrainedTokenizerBase, config: PolicyConfig, dtype: torch.dtype) -> Learner:
    codec: Codec = PlainCodec(tokenizer) if ACT in tokenizer.get_vocab() else ChatCodec(tokenizer)
    longest = int(getattr(policy.config, "max_position_embeddings", config.context))
    context = min(config.context or longest, longest)
    if config.compile:
        policy.compile_trunk()
    return Learner(policy.to(device=config.device, dtype=dtype), tokenizer, codec, context)
