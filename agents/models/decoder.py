"""Language models: small decoders from scratch, or a pretrained one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from agents.errors import ModelError
from agents.models.induction_init import begin_with_copying

Size = Literal["nano", "small", "base"]


@dataclass(frozen=True)
class Shape:
    """The shape of a Qwen 3 decoder."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    head: int = 64


SHAPES: dict[Size, Shape] = {
    "nano": Shape(hidden=128, layers=4, heads=4, kv_heads=2, mlp=256),
    "small": Shape(hidden=512, layers=8, heads=8, kv_heads=4, mlp=1408),
    "base": Shape(hidden=768, layers=16, heads=12, kv_heads=4, mlp=2304),
}
# Slow enough that most rotary pairs of a head hardly turn within an episode: they compare content at any distance.
_ROPE_THETA = 1e7
_QUIET = 0.1  # scale of the first weights that write into the residual stream


def build_decoder(shape: Shape, tokenizer: PreTrainedTokenizerBase, context: int, seed: int = 0) -> nn.Module:
    """A Qwen 3 decoder with fresh weights and tied embeddings.

    Qwen 3 normalises queries and keys. The weights begin at `1 / sqrt(hidden)`, so that attention in a narrow model
    does not begin almost uniform, as it does with Transformers' default of 0.02; those that write into the residual
    stream begin smaller, so that they do not drown the tokens. Two heads begin as a copying circuit
    (`agents.models.induction_init`).

    Args:
        shape: See `SHAPES`: about 1M, 25M and 110M parameters.
        tokenizer: Gives the vocabulary and the special tokens.
        context: Longest sequence, in tokens.
        seed: Of the weights; the global generator is left as it was.
    """
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        initializer_range=shape.hidden**-0.5,
        intermediate_size=shape.mlp,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight *= _QUIET
            layer.mlp.down_proj.weight *= _QUIET
    begin_with_copying(model, seed)
    return model


def load_pretrained(name: str, dtype: torch.dtype) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """A pretrained causal model and its tokenizer.

    Args:
        name: A folder, or a name on the hub.
        dtype: Of the weights, e.g. `torch.bfloat16`.

    Raises:
        ModelError: The model or its tokenizer cannot be loaded.
    """
    if Path(name).is_dir():
        name = str(Path(name).resolve())  # adapters record it as their base model
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the model {name!r}: {error}") from error
    return model, tokenizer


def with_adapters(model: nn.Module, rank: int, seed: int = 0) -> nn.Module:
    """The model with low-rank adapters on every linear layer, in single precision or better; they alone are trained.

    Args:
        model: Is wrapped, and changed.
        rank: Of the adapters.
        seed: Of their weights.
    """
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, adapters)


def lora_rank(model: nn.Module) -> int:
    """Rank of a model's adapters; 0 without adapters."""
    adapters = getattr(model, "peft_config", {})
    return int(adapters["default"].r) if adapters else 0


def set_dtype(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Change the type of the weights only: the buffers of rotary positions lose their meaning in half precision."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
