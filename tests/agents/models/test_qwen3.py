"""The forward pass of Qwen 3 decoders on a CPU against that of Transformers."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import Qwen3Config, Qwen3Model
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from agents.models import qwen3
from agents.models.decoder import set_dtype, without_peft_warning
from agents.models.policy import Policy, trunk
from tests.agents.bandit import llama

# Positions of three episodes; the second has a single one, at its start.
ROWS = torch.tensor([0, 0, 0, 1, 2, 2])
COLUMNS = torch.tensor([2, 3, 8, 0, 4, 5])


def qwen(**changes: Any) -> Qwen3Model:
    """A decoder with random norms; every head of keys serves two heads of queries."""
    settings = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 3, "intermediate_size": 20, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Qwen3Model = Qwen3Model(Qwen3Config(**{**settings, **heads, "initializer_range": 0.3, **changes}))
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return model


def in_double_precision(model: Qwen3Model) -> nn.Module:
    """The same decoder, with norms that do not go through single precision."""
    exact = copy.deepcopy(model).double()
    for parent in list(exact.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, Qwen3RMSNorm):
                own = nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon, dtype=torch.float64)
                own.weight = norm.weight
                setattr(parent, name, own)
    return exact


@pytest.mark.parametrize(
    "changes", [{}, {"num_key_value_heads": 4}, {"attention_bias": False}, {"num_hidden_layers": 1}]
)
def test_states_and_gradients_are_those_of_transformers(changes: dict[str, Any]) -> None:
    model = qwen(**changes)
    ids = torch.randint(3, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    theirs, ours = in_double_precision(model), model.double()
    want, got = trunk(theirs, ids)[ROWS, COLUMNS], qwen3.hidden_at(ours, ids, ROWS, COLUMNS)
    torch.testing.assert_close(got, want, atol=1e-10, rtol=0)
    direction = torch.randn(want.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradients = [
        torch.autograd.grad((states * direction).sum(), tuple(m.parameters()))
        for states, m in ((got, ours), (want, theirs))
    ]
    torch.testing.assert_close(*gradients, atol=1e-10, rtol=1e-10)


def test_adapters_are_added_to_the_weights_that_they_adapt() -> None:
    decoder = with_adapted_projections().double()
    assert qwen3.supports(decoder)
    ids = torch.randint(3, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    theirs = in_double_precision(decoder)
    want, got = trunk(theirs, ids)[ROWS, COLUMNS], qwen3.hidden_at(decoder, ids, ROWS, COLUMNS)
    torch.testing.assert_close(got, want, atol=1e-10, rtol=0)
    gradients = [
        torch.autograd.grad(states.square().sum(), [p for p in m.parameters() if p.requires_grad])
        for states, m in ((got, decoder), (want, theirs))
    ]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


def test_padding_is_not_read() -> None:
    model, ids = qwen(), torch.arange(3, 21).reshape(2, 9)
    other = ids.clone()
    other[1, 5:] = 0
    rows, columns = torch.tensor([0, 1, 1]), torch.tensor([8, 1, 4])
    assert torch.equal(qwen3.hidden_at(model, ids, rows, columns), qwen3.hidden_at(model, other, rows, columns))


def test_no_position_gives_no_state() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    assert qwen3.hidden_at(qwen(), torch.arange(3, 12)[None], nothing, nothing).shape == (0, 24)


def with_adapted_projections(**settings: Any) -> nn.Module:
    """A decoder whose projections have adapters with random weights, made with `settings` of PEFT's `LoraConfig`."""
    model = llama()
    model.model = qwen()
    adapters = LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM", **settings)
    with torch.random.fork_rng(devices=[]), without_peft_warning():
        torch.manual_seed(3)
        decoder: nn.Module = get_peft_model(model, adapters).get_decoder()
        for weight in decoder.parameters():
            weight.data += 0.1 * torch.randn_like(weight) * weight.requires_grad
    return decoder


def with_merged_adapters() -> nn.Module:
    decoder = with_adapted_projections()
    for layer in decoder.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
    return decoder


def with_recomputation() -> nn.Module:
    policy = Policy(llama())
    policy.language_model.model = qwen()
    policy.recompute_activations()
    return policy.decoder


@pytest.mark.parametrize(
    "make",
    [
        lambda: llama().model,
        lambda: with_adapted_projections(use_dora=True),
        lambda: with_adapted_projections(lora_dropout=0.1),
        with_merged_adapters,
        lambda: set_dtype(qwen(), torch.bfloat16),
        lambda: qwen(use_sliding_window=True, sliding_window=4, max_window_layers=1),
        with_recomputation,
    ],
    ids=[
        "other architecture",
        "DoRA",
        "dropout",
        "merged adapters",
        "half precision",
        "attention windows",
        "recomputation",
    ],
)
def test_other_decoders_are_left_to_transformers(make: Callable[[], nn.Module]) -> None:
    assert qwen3.supports(qwen())
    assert not qwen3.supports(make())


def test_mixed_precision_is_left_to_transformers() -> None:
    model = qwen()
    with torch.autocast("cpu", torch.bfloat16):
        assert not qwen3.supports(model)
