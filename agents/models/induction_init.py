"""How a small policy comes to copy: weights that begin with a copying circuit, and episodes that exercise it.

A tool call repeats names and ids that stand in the query or in an earlier answer. Transformers learn that with an
induction circuit: a head that brings to each token the one before it, and a head of a later layer that finds the place
where the current token stood earlier and passes on what followed (Olsson et al. 2022, arXiv 2209.11895). Large models
find it by themselves; one of a million parameters needs more text for it than a laptop can read in an hour. Beginning
with structured instead of independent weights (Trockman and Kolter 2023, arXiv 2305.09828) makes that minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

_FAST_PAIRS = 3  # rotary pairs that tell neighbours apart: they turn by about 1, 0.6 and 0.4 radians a token
_SHARPNESS = 2.0  # gain of queries and keys there: the token before outweighs its neighbours by e**7
_MATCH_GAIN = 1.6  # the same where content is compared
_BIAS = 5.0  # outweighs what the text says, so that the first head looks at positions alone
_PREVIOUS = 0.2  # scale at which the token before is written beside the token itself


@torch.no_grad()
def begin_with_copying(model: nn.Module, seed: int) -> None:
    """Set the first head of the first two layers so that together they form an induction circuit.

    The first head of layer 0 attends to the token before by position alone and writes a projection of it into a
    subspace of its own. The first head of layer 1 compares that subspace with the current token, in rotary pairs
    that turn too slowly to matter within a context, and writes the token it finds. Everything else stays as drawn.

    Args:
        model: A fresh Qwen 3 decoder with attention biases and at least two layers.
        seed: Of the random subspaces.
    """
    config, layers = cast(Any, model).config, cast(Any, model).model.layers
    width, head, half = config.hidden_size, config.head_dim, config.head_dim // 2
    turns = torch.tensor([config.rope_parameters["rope_theta"] ** (-pair / half) for pair in range(half)])
    slow = [pair for pair in range(half) if turns[pair] < 1 / config.max_position_embeddings][::-1]
    content = [place for pair in slow for place in (pair, pair + half)][: width // 3]
    basis = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))[0].T
    current, previous = basis[: len(content)], basis[len(content) : 2 * len(content)]
    passed_on = torch.cat([current, basis[2 * len(content) :]])[:head]
    _look_back_one(layers[0].self_attn, turns, head)
    _write(layers[0].self_attn, head, read=current, written=_PREVIOUS * previous)
    _match(layers[1].self_attn, head, content, query=current, key=previous)
    _write(layers[1].self_attn, head, read=passed_on, written=passed_on)


def _look_back_one(attention: Any, turns: Tensor, head: int) -> None:
    """Constant queries and keys whose angle differs by one token's turn, in the fastest rotary pairs."""
    half = head // 2
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[:head] = 0
    for pair in range(_FAST_PAIRS):
        turn = float(turns[pair])
        attention.q_proj.bias[pair] = _BIAS
        attention.k_proj.bias[pair] = _BIAS * math.cos(turn)
        attention.k_proj.bias[pair + half] = _BIAS * math.sin(turn)
        for norm in (attention.q_norm, attention.k_norm):
            norm.weight[[pair, pair + half]] = _SHARPNESS


def _match(attention: Any, head: int, content: Sequence[int], query: Tensor, key: Tensor) -> None:
    """Compare two subspaces in the rotary pairs of `content`."""
    for projection, subspace in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight[:head] = 0
        projection.weight[list(content)] = subspace
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[list(content)] = _MATCH_GAIN


def _write(attention: Any, head: int, read: Tensor, written: Tensor) -> None:
    """Make the first head pass on one subspace as another."""
    attention.v_proj.weight[:head] = 0
    attention.v_proj.weight[: len(read)] = read
    attention.o_proj.weight[:, :head] = 0
    attention.o_proj.weight[:, : len(written)] = written.T
