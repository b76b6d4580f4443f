"""Language models: small decoders from scratch, pretrained models, and LoRA adapters."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from agents.errors import ModelError
from agents.models import smollm2
from agents.models.induction_init import init_induction_heads

Size = Literal["nano", "small", "base"]


@dataclass(frozen=True)
class Shape:
    """Shape of a Qwen 3 decoder."""

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
# Most rotary pairs of a head turn by little within an episode, so that they compare content at any distance.
_ROPE_THETA = 1e7
_RESIDUAL_SCALE = 0.1  # initial scale of the weights that write into the residual stream


def build_decoder(shape: Shape, tokenizer: PreTrainedTokenizerBase, context: int, seed: int = 0) -> nn.Module:
    """Build a Qwen 3 decoder with fresh weights and tied embeddings.

    Qwen 3 normalizes queries and keys. The standard deviation of the weights is `1 / sqrt(hidden)`: with Transformers'
    default of 0.02 the attention of a narrow model is almost uniform at first. Weights that write into the residual
    stream are smaller, so that the token embeddings dominate it. Two heads form an induction circuit
    (`agents.models.induction_init`).

    Args:
        shape: Shape of `SHAPES`: about 1M, 25M and 110M parameters.
        tokenizer: Tokenizer, for the vocabulary size and the special tokens.
        context: Context length in tokens.
        seed: Random seed of the weights; the global generator is not advanced.
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
            layer.self_attn.o_proj.weight *= _RESIDUAL_SCALE
            layer.mlp.down_proj.weight *= _RESIDUAL_SCALE
    init_induction_heads(model, seed)
    return model


def load_pretrained(name: str, dtype: torch.dtype) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """Load a pretrained model and its tokenizer by folder, by hub name or as `smollm2`.

    Raises:
        ModelError: One of them cannot be loaded.
    """
    if name == smollm2.NAME:
        name = str(smollm2.smollm2_folder())
    if Path(name).is_dir():
        name = str(Path(name).resolve())  # adapters record it as their base model
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the model {name!r}: {error}") from error
    return model, tokenizer


def with_adapters(model: nn.Module, rank: int, seed: int = 0) -> nn.Module:
    """Put LoRA adapters on every linear layer, in single precision or better; only they are trained.

    The model is changed and wrapped; `seed` is that of the adapters' weights.
    """
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), without_peft_warning():
        torch.manual_seed(seed)
        return get_peft_model(model, adapters)


@contextmanager
def without_peft_warning() -> Iterator[None]:
    """Hide the warning of Transformers 5.23 about a property that PEFT 0.21 reads when it wraps a model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def lora_rank(model: nn.Module) -> int:
    """Rank of a model's adapters; 0 without adapters."""
    adapters = getattr(model, "peft_config", {})
    return int(adapters["default"].r) if adapters else 0


def set_dtype(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Change the dtype of the weights, not of the buffers: rotary frequencies need single precision."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
