"""Policy bundles: a policy, its tokenizer and its codec, built from settings or loaded from a checkpoint."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from agents.errors import CheckpointError, ConfigurationError, ModelError
from agents.models import checkpoint
from agents.models.chat_template import ChatCodec, Codec, PlainCodec
from agents.models.config import Dtype, PolicyConfig
from agents.models.decoder import SHAPES, build_decoder, load_pretrained, lora_rank, set_dtype, with_adapters
from agents.models.policy import Policy
from agents.models.tokenizer import ACT


@dataclass(frozen=True)
class PolicyBundle:
    """A policy, its tokenizer, its codec and its context length in tokens."""

    policy: Policy
    tokenizer: PreTrainedTokenizerBase
    codec: Codec
    context: int


def build_policy(config: PolicyConfig, tokenizer: PreTrainedTokenizerBase | None = None, seed: int = 0) -> PolicyBundle:
    """Build the policy of a configuration: from a checkpoint, from scratch, or of a pretrained model.

    `tokenizer` is that of a policy from scratch, `seed` the random seed of fresh weights.

    Raises:
        ModelError: The configuration names no usable model.
        CheckpointError: The checkpoint cannot be used.
        ConfigurationError: The device cannot be used, or adapters are to be put on fresh weights.
    """
    dtype = cast(torch.dtype, getattr(torch, "float32" if config.dtype == "mixed" else config.dtype))
    check_device(config.device)
    if config.checkpoint:
        return _from_checkpoint(config, dtype, seed)
    if config.model not in SHAPES:
        model, pretrained_tokenizer = load_pretrained(config.model, dtype)
        return _bundle(_policy(model, config, seed), pretrained_tokenizer, config)
    if config.lora_rank:
        raise ConfigurationError(
            f"policy.lora_rank={config.lora_rank}: adapters need weights to adapt; set policy.checkpoint, or give "
            "the folder or hub name of a pretrained model as policy.model"
        )
    if tokenizer is None:
        raise ModelError(
            f"policy.model={config.model} starts from scratch and needs a tokenizer: train it first with "
            "`steptool sft`, then set policy.checkpoint"
        )
    model = set_dtype(build_decoder(SHAPES[config.model], tokenizer, config.context, seed), dtype)
    return _bundle(_policy(model, config, seed), tokenizer, config)


def check_device(device: str) -> None:
    """Raise `ConfigurationError` for a device that cannot be used."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the second where torch was built without CUDA
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"device={device}: cannot be used here ({reason}); cpu always can") from error


def load_policy(name: str | Path, *, device: str = "cpu", dtype: Dtype = "float32") -> PolicyBundle:
    """Load a checkpoint, without its value head, to act. See `checkpoint.resolve_checkpoint` for `name`."""
    return build_policy(PolicyConfig(checkpoint=str(name), critic="none", device=device, dtype=dtype, context=0))


def with_context(bundle: PolicyBundle, context: int) -> PolicyBundle:
    """Return the bundle of a decoder from scratch with a context of at least so many tokens.

    Rotary positions have no weights, so further training can use positions beyond the context; the model of the bundle
    is changed. Other models keep their context, see `context_limit`.
    """
    if context <= bundle.context or context_limit(bundle) is not None:
        return bundle
    bundle.policy.config.max_position_embeddings = context
    return replace(bundle, context=context)


def context_limit(bundle: PolicyBundle) -> int | None:
    """Return the longest context that a policy can have, in tokens; `None` without a limit.

    A pretrained model keeps the positions that it was trained on, and adapters those of their base model, which is not
    saved with them.
    """
    if isinstance(bundle.codec, ChatCodec) or lora_rank(bundle.policy.language_model):
        return int(getattr(bundle.policy.config, "max_position_embeddings", bundle.context))
    return None


def _from_checkpoint(config: PolicyConfig, dtype: torch.dtype, seed: int) -> PolicyBundle:
    """Adapters of the checkpoint are trained further; a checkpoint without adapters may be given some."""
    folder = checkpoint.resolve_checkpoint(config.checkpoint)
    model, tokenizer = checkpoint.load_language_model(folder, dtype), checkpoint.load_tokenizer(folder)
    rank = lora_rank(model)
    if config.lora_rank not in {0, rank} and rank:
        raise CheckpointError(f"{folder} has adapters of rank {rank}, not policy.lora_rank={config.lora_rank}")
    policy = _policy(model, config, seed)
    if rank or not config.lora_rank:
        checkpoint.load_value_head(folder, policy)
    return _bundle(policy, tokenizer, config)


def _policy(model: nn.Module, config: PolicyConfig, seed: int) -> Policy:
    if config.lora_rank and not lora_rank(model):
        model = with_adapters(model, config.lora_rank, seed)
    policy = Policy(model, config.critic, autocast=config.dtype == "mixed").eval()  # no dropout: the sampler has none
    if config.gradient_checkpointing:
        policy.recompute_activations()
    return policy


def _bundle(policy: Policy, tokenizer: PreTrainedTokenizerBase, config: PolicyConfig) -> PolicyBundle:
    codec: Codec = PlainCodec(tokenizer) if ACT in tokenizer.get_vocab() else ChatCodec(tokenizer)
    longest = int(getattr(policy.config, "max_position_embeddings", config.context))
    context = min(config.context or longest, longest)
    policy.to(device=config.device)
    _check_logits(policy)
    return PolicyBundle(policy, tokenizer, codec, context)


@torch.no_grad()
def _check_logits(policy: Policy) -> None:
    """Raise `ModelError` for a language model whose logits `Policy.logits` does not compute."""
    ids = torch.arange(1, 5, device=policy.device)[None]
    got, model = policy.logits(policy.hidden(ids)), cast(Any, policy.language_model)
    want = model(input_ids=ids, use_cache=False).logits
    # The two passes may use other kernels, whose rounding adds up over the layers; a scale that is left out shows more.
    tolerance = max(8 * torch.finfo(policy.dtype).eps, 5e-3)
    if (got - want).abs().max() > tolerance * want.abs().max():
        raise ModelError(
            f"model_type={policy.config.model_type}: this model changes its logits after the output layer in a way "
            "that the policy does not compute; take a model of another type"
        )
