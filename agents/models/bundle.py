"""A policy with what belongs to it: the tokenizer and the codec. Built from a configuration or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from agents.errors import CheckpointError, ConfigurationError, ModelError
from agents.models import checkpoint
from agents.models.chat_template import ChatCodec, Codec, PlainCodec
from agents.models.config import PolicyConfig
from agents.models.decoder import SHAPES, build_decoder, load_pretrained, set_dtype, with_adapters
from agents.models.policy import Policy
from agents.models.tokenizer import ACT


@dataclass(frozen=True)
class PolicyBundle:
    """A policy, its tokenizer, its codec and its context length in tokens."""

    policy: Policy
    tokenizer: PreTrainedTokenizerBase
    codec: Codec
    context: int


def build_learner(
    config: PolicyConfig, tokenizer: PreTrainedTokenizerBase | None = None, seed: int = 0
) -> PolicyBundle:
    """The learner that a configuration describes.

    Args:
        config: Names a checkpoint, a size to build from scratch, or a pretrained model.
        tokenizer: Needed for a size to build from scratch.
        seed: Of fresh weights.

    Raises:
        ModelError: The configuration names no usable model.
        CheckpointError: The checkpoint cannot be used.
        ConfigurationError: The device is not there.
    """
    dtype = cast(torch.dtype, getattr(torch, config.dtype))
    check_device(config.device)
    if config.checkpoint:
        return _from_checkpoint(config, dtype, seed)
    if config.model not in SHAPES:
        model, own = load_pretrained(config.model, dtype)
        return _learner(_policy(model, config, seed), own, config)
    if tokenizer is None:
        raise ModelError(
            f"policy.model={config.model} starts from scratch and needs a tokenizer: train it first with "
            "`steptool sft`, then set policy.checkpoint"
        )
    model = set_dtype(build_decoder(SHAPES[config.model], tokenizer, config.context, seed), dtype)
    return _learner(_policy(model, config, seed), tokenizer, config)


def check_device(device: str) -> None:
    """Raise `ConfigurationError` for a device that is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the second where torch was built without CUDA
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"device={device}: cannot be used here ({reason}); cpu always can") from error


def load_learner(folder: Path, *, device: str = "cpu") -> PolicyBundle:
    """The learner of a checkpoint, or of the newest in a run's folder, to act (without its critic)."""
    found = checkpoint.newest(folder) or folder
    config = PolicyConfig(checkpoint=str(found), value_trunk="none", device=device, context=0)
    return build_learner(config)


def _from_checkpoint(config: PolicyConfig, dtype: torch.dtype, seed: int) -> PolicyBundle:
    """A checkpoint with adapters goes on with them; one without may be given some."""
    folder = Path(config.checkpoint)
    architecture = checkpoint.load_architecture(folder)
    kind = architecture.pop("model_type", None)
    try:
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, then overwritten
            model = cast(Any, AutoModelForCausalLM).from_config(AutoConfig.for_model(str(kind), **architecture))
        tokenizer = AutoTokenizer.from_pretrained(str(folder / "tokenizer"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the model cannot be rebuilt: {error}") from error
    rank = checkpoint.load_lora_rank(folder)
    if config.lora_rank not in {0, rank} and rank:
        raise CheckpointError(f"{folder} has adapters of rank {rank}, not policy.lora_rank={config.lora_rank}")
    if rank or not config.lora_rank:
        policy = _policy(set_dtype(model, dtype), replace(config, lora_rank=rank), seed)
        checkpoint.load_weights(folder, policy)
    else:
        checkpoint.load_weights(folder, Policy(set_dtype(model, dtype), "none"))
        policy = _policy(model, config, seed)
    return _learner(policy, tokenizer, config)


def _policy(model: nn.Module, config: PolicyConfig, seed: int) -> Policy:
    if config.lora_rank:
        model = with_adapters(model, config.lora_rank, seed)
    policy = Policy(model, config.value_trunk).eval()  # no dropout: the sampler has none
    if config.gradient_checkpointing:
        policy.recompute_activations()
    return policy


def _learner(policy: Policy, tokenizer: PreTrainedTokenizerBase, config: PolicyConfig) -> PolicyBundle:
    codec: Codec = PlainCodec(tokenizer) if ACT in tokenizer.get_vocab() else ChatCodec(tokenizer)
    longest = int(getattr(policy.config, "max_position_embeddings", config.context))
    context = min(config.context or longest, longest)
    if config.compile:
        policy.compile_trunk()
    return PolicyBundle(policy.to(device=config.device), tokenizer, codec, context)
