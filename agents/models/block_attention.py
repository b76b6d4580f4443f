"""Causal attention in blocks of queries, for training on a CPU; where it does not fit, PyTorch's own.

PyTorch's kernel for a CPU takes keys 512 at a time, so of an episode of some hundred tokens it computes almost the
whole square that causal attention needs half of, and in the backward pass it computes the probabilities again. Here a
block of queries meets the keys up to its end alone, and its probabilities are kept: 4 bytes for each pair of tokens,
head and layer, which is why longer episodes go to PyTorch's kernel.

Notation: b episodes of length l, n heads of keys, each with r heads of queries, d numbers a head.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

LONGEST = 1024  # tokens of an episode
BLOCK = 64  # queries; an episode of one block gains nothing
_NAME = "causal_blocks"


def attend_in_blocks(model: nn.Module) -> None:
    """Let a Transformers model attend in blocks where that fits. It must have been using PyTorch's attention."""
    if cast(Any, model).config._attn_implementation == "sdpa":
        cast(Any, model).set_attn_implementation(_NAME)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """`softmax(scale * q k^T) v` over the tokens up to each.

    Args:
        query: (b, n * r, l, d).
        key: (b, n, l, d).
        value: (b, n, l, d).
        scale: Of the scores.

    Returns:
        (b, n * r, l, d).
    """
    return cast(Tensor, _CausalBlocks.apply(query, key, value, scale))  # type: ignore[no-untyped-call]


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """What Transformers calls, with the arguments that it gives to its own."""
    if attention_mask is not None or not _fits(module, query, key, value, options):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    return causal_attention(query, key, value, scale).transpose(1, 2).contiguous(), None


def _fits(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> bool:
    special = any(options.get(name) is not None for name in ("position_bias", "softcap", "cache"))
    causal = options.get("is_causal")
    if causal is None:
        causal = getattr(module, "is_causal", True)
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and BLOCK < query.shape[2] == key.shape[2] <= LONGEST
        and key.shape[-1] == value.shape[-1]
        and causal is True
        and not options.get("dropout")
        and not special
        and not torch.compiler.is_compiling()
    )


class _CausalBlocks(torch.autograd.Function):
    """Blocks of queries from first to last; the r query heads of a key head are rows of one matrix (l * r, d)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        r = query.shape[1] // key.shape[1]
        q, k, v = _rows(query, r) * scale, _rows(key, 1), _rows(value, 1)
        future = torch.full((BLOCK, BLOCK), -math.inf, dtype=q.dtype).triu(1).repeat_interleave(r, 0)
        out, kept = torch.empty_like(q), []
        for begin in range(0, k.shape[1], BLOCK):
            end = min(begin + BLOCK, k.shape[1])
            own = slice(begin * r, end * r)
            probability = torch.bmm(q[:, own], k[:, :end].transpose(1, 2))
            probability[:, :, begin:] += future[: (end - begin) * r, : end - begin]
            torch.softmax(probability, -1, out=probability)
            torch.bmm(probability, v[:, :end], out=out[:, own])
            kept.append(probability)
        ctx.save_for_backward(q, k, v, out, *kept)
        ctx.scale, ctx.heads = scale, (query.shape[0], key.shape[1], r)
        return _heads(out, query.shape[0], key.shape[1], r)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, *kept = ctx.saved_tensors
        b, n, r = ctx.heads
        g = _rows(gradient, r)
        mean = (g * out).sum(-1, keepdim=True)  # of the gradient at the scores, under the probabilities
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for block, probability in enumerate(kept):
            end = probability.shape[2]
            own = slice(block * BLOCK * r, end * r)
            to_v[:, :end].baddbmm_(probability.transpose(1, 2), g[:, own])
            to_scores = torch.bmm(g[:, own], v[:, :end].transpose(1, 2)).sub_(mean[:, own]).mul_(probability)
            torch.bmm(to_scores, k[:, :end], out=to_q[:, own])
            to_k[:, :end].baddbmm_(to_scores.transpose(1, 2), q[:, own])
        return _heads(to_q * ctx.scale, b, n, r), _heads(to_k, b, n, 1), _heads(to_v, b, n, 1), None


def _rows(heads: Tensor, r: int) -> Tensor:
    """(b, n * r, l, d) -> (b * n, l * r, d)."""
    b, count, length, width = heads.shape
    return heads.reshape(-1, r, length, width).transpose(1, 2).reshape(b * count // r, length * r, width)


def _heads(rows: Tensor, b: int, n: int, r: int) -> Tensor:
    """(b * n, l * r, d) -> (b, n * r, l, d)."""
    return rows.reshape(b * n, -1, r, rows.shape[-1]).transpose(1, 2).reshape(b, n * r, -1, rows.shape[-1])


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
