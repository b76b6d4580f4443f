"""Initial weights that form an induction circuit, so that a small policy can copy.

A tool call repeats names and ids of the query or of an earlier observation. Transformers copy with an induction
circuit: a head that attends to the previous token, and a head of a later layer that finds the earlier occurrence of the
current token and outputs the token after it (Olsson et al. 2022, arXiv 2209.11895). Large models learn it; one of a
million parameters needs more text for it than a laptop processes in an hour. Structured initial weights (Trockman and
Kolter 2023, arXiv 2305.09828) reduce that to minutes.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

_FAST_PAIRS = 3  # rotary pairs that separate neighbours: they turn by about 1, 0.6 and 0.4 radians a token
_SHARPNESS = 2.0  # gain of queries and keys in these pairs: the previous token outweighs its neighbours by e**7
_MATCH_GAIN = 1.6  # gain of queries and keys in the pairs that compare content
_BIAS = 5.0  # bias that outweighs the content, so that the first head depends on positions alone
_PREVIOUS = 0.2  # scale of the previous token in the residual stream


@torch.no_grad()
def init_induction_heads(model: nn.Module, seed: int) -> None:
    """Make the first heads of the first two layers of a fresh Qwen 3 decoder an induction circuit, in place.

    The first head of layer 0 attends to the previous token by position alone and writes a projection of it into a
    separate subspace. The first head of layer 1 compares that subspace with the current token, in rotary pairs
    that hardly turn within a context, and writes the token that it finds. All other weights are unchanged. `seed` is
    that of the subspaces.
    """
    config, layers = cast(Any, model).config, cast(Any, model).model.layers
    width, head, half = config.hidden_size, config.head_dim, config.head_dim // 2
    turns = torch.tensor([config.rope_parameters["rope_theta"] ** (-pair / half) for pair in range(half)])
    slow = [pair for pair in range(half) if turns[pair] < 1 / config.max_position_embeddings][::-1]
    content = [place for pair in slow for place in (pair, pair + half)][: width // 3]
    basis = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))[0].T
    current, previous = basis[: len(content)], basis[len(content) : 2 * len(content)]
    output = torch.cat([current, basis[2 * len(content) :]])[:head]
    _attend_to_previous(layers[0].self_attn, turns, head)
    _write(layers[0].self_attn, head, read=current, written=_PREVIOUS * previous)
    _match(layers[1].self_attn, head, content, query=current, key=previous)
    _write(layers[1].self_attn, head, read=output, written=output)


def _attend_to_previous(attention: Any, turns: Tensor, head: int) -> None:
    """Set constant queries and keys whose angle differs by one token's turn, in the fastest rotary pairs."""
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
    """Make the first head write one subspace as another."""
    attention.v_proj.weight[:head] = 0
    attention.v_proj.weight[: len(read)] = read
    attention.o_proj.weight[:, :head] = 0
    attention.o_proj.weight[:, : len(written)] = written.T
