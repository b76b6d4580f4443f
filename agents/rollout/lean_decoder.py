"""Forward pass of a decoder with a cache in few operations, for models whose decoding steps are mostly overhead.

Notation: n rows of a block, q tokens per row, t = n * q, h the model's width, d the size of a head.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import LlamaModel, Qwen2Model, Qwen3Model

from agents.models.policy import Policy
from agents.models.weights import merged
from agents.rollout.kv_cache import RaggedCache, causal_mask


def is_lean(decoder: nn.Module) -> bool:
    """Return true for a decoder that `lean_forward` computes: Llama, Qwen 2 or Qwen 3 with full attention."""
    config = cast(Any, decoder).config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return type(decoder) in (LlamaModel, Qwen2Model, Qwen3Model) and kinds == {"full_attention"}


def merged_decoder(policy: Policy) -> nn.Module:
    """Return the decoder to sample with: on a CPU a copy with merged adapters, if there are any, for the same reason.

    In half precision they stay apart: merged weights would be rounded.
    """
    if policy.device.type != "cpu" or policy.dtype not in (torch.float32, torch.float64):
        return policy.decoder
    return cast(nn.Module, cast(Any, merged(policy.language_model)).get_decoder())


def lean_forward(
    decoder: Any, ids: Tensor, positions: Tensor, cache: RaggedCache, last: Tensor | None, *, first: bool
) -> Tensor:
    """Return the hidden states (n, h) of one token per row of a block, as `decoder` computes them, up to rounding.

    It reads the cache without repeating keys and values for each query head, computes only what these tokens need in
    the last layer, and skips the general code of Transformers.

    Args:
        decoder: Decoder for which `is_lean` is true.
        ids: Tokens (n, q).
        positions: Their positions (n, q).
        cache: Cache, with the destination of the block.
        last: Column of each row's token (n,); by default all hidden states are returned (t, h).
        first: True when the rows have no earlier tokens: the block is then all that it sees.
    """
    n, q = ids.shape
    rows = torch.arange(n, device=ids.device)
    hidden = decoder.embed_tokens(ids.flatten())
    angles = _angles(decoder, hidden, positions)
    mask = None if first else causal_mask(positions, cache.width, hidden.dtype)
    final = len(decoder.layers) - 1
    for number, layer in enumerate(decoder.layers):
        attention = layer.self_attn
        states = _norm(hidden, layer.input_layernorm)
        keys = _heads(attention, states, "k", angles).view(n, q, -1, attention.head_dim).transpose(1, 2)
        values = attention.v_proj(states).view(n, q, -1, attention.head_dim).transpose(1, 2)
        if number == final and last is not None and q > 1:
            hidden, states = (each.view(n, q, -1)[rows, last] for each in (hidden, states))
            angles = tuple(each.view(n, q, 1, -1)[rows, last] for each in angles)
            mask = causal_mask(positions[rows, last][:, None], q if first else cache.width, hidden.dtype)
        queries = _heads(attention, states, "q", angles).view(n, len(states) // n, -1, attention.head_dim)
        seen = cache.update(keys, values, number)
        if first:
            seen = keys, values
        mixed = _attend(queries.transpose(1, 2), *seen, mask, attention.scaling)
        hidden = hidden + attention.o_proj(mixed)
        hidden = hidden + layer.mlp(_norm(hidden, layer.post_attention_layernorm))
    return _norm(hidden, decoder.norm)


def _angles(decoder: Any, hidden: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
    """Return the cosines and sines (t, 1, d) of positions, the sines negative in the first half of a head."""
    cos, sin = (each.flatten(0, 1)[:, None] for each in decoder.rotary_emb(hidden, positions))
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[..., :half], sin[..., half:]), -1)


def _heads(attention: Any, states: Tensor, kind: str, angles: tuple[Tensor, ...]) -> Tensor:
    """Return the queries or keys (t, heads, d) of states (t, h), normalised where the model does so, and rotated."""
    heads = getattr(attention, f"{kind}_proj")(states).view(len(states), -1, attention.head_dim)
    norm = getattr(attention, f"{kind}_norm", None)
    heads = heads if norm is None else _norm(heads, norm)
    cos, sin = angles
    return torch.addcmul(heads * cos, heads.roll(attention.head_dim // 2, -1), sin)


def _norm(states: Tensor, norm: Any) -> Tensor:
    """Root mean square normalisation, in single precision as Transformers computes it."""
    size = states.shape[-1:]
    if states.dtype == torch.float32:
        return F.rms_norm(states, size, norm.weight, norm.variance_epsilon)
    return cast(Tensor, norm.weight * F.rms_norm(states.float(), size, None, norm.variance_epsilon).to(states.dtype))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention of (n, heads, q, d) to keys and values (n, groups, width, d), causal without a mask: (t, heads * d).

    The heads of a group become queries of its key head, so keys are read once and not repeated; except for several
    queries on a GPU.
    """
    n, heads, q, d = queries.shape
    groups = keys.shape[1]
    if mask is not None and queries.device.type == "cpu" and queries.dtype in (torch.float32, torch.float64):
        # Two products read a cache faster than the fused kernel, which is made for many queries.
        scores = torch.bmm(queries.reshape(n * groups, -1, d) * scale, keys.reshape(n * groups, -1, d).transpose(1, 2))
        scores.view(n, heads, q, -1).add_(mask)
        mixed = torch.bmm(scores.softmax(-1), values.reshape(n * groups, -1, d))
    else:
        if q == 1:
            queries = queries.reshape(n, groups, -1, d)
        elif queries.device.type != "cpu":  # there the kernels with a mask need as many key heads as query heads
            keys, values = (each.repeat_interleave(heads // groups, 1) for each in (keys, values))
        grouped = queries.shape[1] > keys.shape[1]
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
        )
    return mixed.reshape(n, heads, q, d).transpose(1, 2).reshape(n * q, heads * d)
