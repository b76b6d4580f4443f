"""Forward pass of a decoder with a cache in few operations, for models whose decoding steps are mostly overhead.

Notation: n rows of a block, q tokens per row, t = n * q, h the model's width, d the size of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import LlamaModel, Qwen2Model, Qwen3Model

from agents.rollout.kv_cache import RaggedCache


class Part(NamedTuple):
    """Rows of a block that attend together.

    Attributes:
        block: Its rows of the block.
        rows: Its rows of the cache.
        width: Number of columns that it sees.
    """

    block: slice
    rows: slice | Tensor
    width: int


def is_lean(decoder: nn.Module) -> bool:
    """Return true for a decoder that `lean_forward` computes: Llama, Qwen 2 or Qwen 3 with full attention."""
    config = cast(Any, decoder).config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return type(decoder) in (LlamaModel, Qwen2Model, Qwen3Model) and kinds == {"full_attention"}


def lean_forward(decoder: Any, ids: Tensor, positions: Tensor, cache: RaggedCache, parts: Sequence[Part]) -> Tensor:
    """Return the hidden states (n, q, h) of a block, as `decoder` computes them, up to rounding.

    It attends to the cache without copying keys and values for each query head, and skips the general code of
    Transformers.

    Args:
        decoder: Decoder for which `is_lean` is true.
        ids: Tokens (n, q).
        positions: Their positions (n, q).
        cache: Cache, with the destination of the block.
        parts: Parts of the block, which cover it.
    """
    n, q = ids.shape
    hidden = decoder.embed_tokens(ids.flatten())
    cos, sin = (each.flatten(0, 1)[:, None] for each in decoder.rotary_emb(hidden, positions))
    half = sin.shape[-1] // 2
    signed = torch.cat((-sin[..., :half], sin[..., half:]), -1)
    masks = [_mask(positions[part.block], part.width, hidden.dtype) for part in parts]
    for number, layer in enumerate(decoder.layers):
        attention = layer.self_attn
        states = _norm(hidden, layer.input_layernorm)
        queries, keys, values = (
            project(states).view(n * q, -1, attention.head_dim)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if hasattr(attention, "q_norm"):
            queries, keys = _norm(queries, attention.q_norm), _norm(keys, attention.k_norm)
        queries, keys, values = (
            each.view(n, q, -1, attention.head_dim).transpose(1, 2)
            for each in (_rotate(queries, cos, signed, half), _rotate(keys, cos, signed, half), values)
        )
        cache.write(keys, values, number)
        seen = cache.parts(number, [(part.rows, part.width) for part in parts])
        attended = [
            _attend(queries[part.block], *each, mask, attention.scaling)
            for part, each, mask in zip(parts, seen, masks, strict=True)
        ]
        hidden = hidden + attention.o_proj(attended[0] if len(attended) == 1 else torch.cat(attended))
        hidden = hidden + layer.mlp(_norm(hidden, layer.post_attention_layernorm))
    return _norm(hidden, decoder.norm).view(n, q, -1)


def _norm(states: Tensor, norm: Any) -> Tensor:
    """Root mean square normalisation, in single precision as Transformers computes it."""
    size = states.shape[-1:]
    if states.dtype == torch.float32:
        return F.rms_norm(states, size, norm.weight, norm.variance_epsilon)
    return cast(Tensor, norm.weight * F.rms_norm(states.float(), size, None, norm.variance_epsilon).to(states.dtype))


def _rotate(states: Tensor, cos: Tensor, signed: Tensor, half: int) -> Tensor:
    """Rotary embedding of (t, heads, d); `signed` is the sine, negative in the first half."""
    return torch.addcmul(states * cos, states.roll(half, -1), signed)


def _mask(positions: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (n, 1, q, width) of the columns after each position."""
    seen = torch.arange(width, device=positions.device) <= positions[:, None, :, None]
    return torch.zeros(seen.shape, dtype=dtype, device=positions.device).masked_fill_(~seen, float("-inf"))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Attention of (n, heads, q, d) to keys and values (n, groups, width, d). Return (t, heads * d).

    The query heads of a group are further queries of its key head, so keys are read once and not repeated.
    """
    n, heads, q, d = queries.shape
    groups = keys.shape[1]
    share = heads // groups
    folded = queries.reshape(n, groups, share * q, d)
    seen = mask if q == 1 else mask.repeat(1, 1, share, 1)
    mixed = F.scaled_dot_product_attention(folded, keys, values, attn_mask=seen, scale=scale)
    return mixed.view(n, heads, q, d).transpose(1, 2).reshape(n * q, heads * d)
