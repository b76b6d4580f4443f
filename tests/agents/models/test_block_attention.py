"""Attention in blocks is PyTorch's attention, in values and gradients, and is left where it does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agents.models import block_attention
from agents.models.block_attention import causal_attention
from agents.models.policy import Policy
from tests.agents.bandit import WORDS, exact_model
from tests.agents.training.test_losses import CONFIG, assert_close, episodes, loss_and_gradients, policy


def heads(count: int, length: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """As Transformers gives them: positions before heads in memory."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, length, count, 8, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()


@pytest.mark.parametrize("query_heads", [2, 6])
@pytest.mark.parametrize("length", [2, 63, 64, 65, 200])
def test_values_and_gradients_are_those_of_pytorch(length: int, query_heads: int) -> None:
    query, key, value = heads(query_heads, length, 0), heads(2, length, 1), heads(2, length, 2)
    given = heads(query_heads, length, 3).detach()
    results = []
    for attend in (
        lambda q, k, v: causal_attention(q, k, v, 0.3),
        lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True),
    ):
        out = attend(query, key, value)
        results.append((out, *torch.autograd.grad(out, (query, key, value), given)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_a_token_never_looks_ahead() -> None:
    query, key, value = (heads(2, 130, seed).detach() for seed in range(3))
    whole = causal_attention(query, key, value, 0.3)
    for end in (1, 64, 100):
        part = causal_attention(query[:, :, :end], key[:, :, :end], value[:, :, :end], 0.3)
        torch.testing.assert_close(part, whole[:, :, :end], rtol=0, atol=1e-12)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of what has been attended to in blocks, which are small enough for episodes of a few tokens."""
    monkeypatch.setattr(block_attention, "BLOCK", 2)
    lengths: list[int] = []

    def noted(query: Tensor, *rest: Any) -> Tensor:
        lengths.append(query.shape[2])
        return causal_attention(query, *rest)

    monkeypatch.setattr(block_attention, "causal_attention", noted)
    return lengths


def test_training_attends_in_blocks_and_its_gradient_is_the_same(
    calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    played, model = episodes(), policy("apart")
    blocks = loss_and_gradients(model, played, CONFIG)
    assert calls
    calls.clear()
    monkeypatch.setattr(block_attention, "LONGEST", 0)
    whole = loss_and_gradients(model, played, CONFIG)
    assert not calls
    torch.testing.assert_close(blocks[0], whole[0], rtol=0, atol=1e-10)
    assert_close(blocks[1], whole[1])


def test_layers_that_are_computed_again_attend_in_blocks_again(calls: list[int]) -> None:
    played, model = episodes(), policy("apart")
    plain = loss_and_gradients(model, played, CONFIG)
    model.recompute_activations()
    with model.learning():
        again = loss_and_gradients(model, played, CONFIG)
    assert calls
    assert_close(plain[1], again[1])


@torch.no_grad()
def test_padding_on_the_left_and_half_precision_are_left_to_pytorch(calls: list[int]) -> None:
    ids = torch.tensor([[0, 0, 3, 4], [3, 4, 3, 4]]) % len(WORDS)
    model = Policy(exact_model(0), "none")
    model.hidden(ids, torch.tensor([[False, False, True, True], [True] * 4]))
    with torch.autocast("cpu", torch.bfloat16):
        model.hidden(ids)
    model.bfloat16().hidden(ids)
    model.float().hidden(ids[:, :2])
    assert not calls
    model.hidden(ids)
    assert calls
