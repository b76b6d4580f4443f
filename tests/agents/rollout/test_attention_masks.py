"""Masks for the decoders that Transformers computes: the sampler's attention is the one of the trainer."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from agents.errors import ModelError
from agents.models.policy import Policy
from agents.rollout.kv_cache import causal_mask
from agents.rollout.lean_decoder import is_lean
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from tests.agents.bandit import WORDS
from tests.agents.rollout.test_sampler import generator, play

Settings = dict[str, Any]
SIZES: Settings = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}
# One layer with the window and one without; the default pattern has five to one.
GEMMA: Settings = {"head_dim": 8, "query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"]}
KINDS: dict[str, tuple[type, type, Settings]] = {
    "mistral": (MistralForCausalLM, MistralConfig, {}),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, GEMMA),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, GEMMA),
}


def policy(kind: str, window: int | None, attention: str) -> Policy:
    model, config, more = KINDS[kind]
    torch.manual_seed(0)
    made: nn.Module = model(config(**SIZES, **more, sliding_window=window, attn_implementation=attention))
    return Policy(made.double().eval(), "none")


@pytest.mark.parametrize("sampler", [TokenSampler, StaticTokenSampler])
@pytest.mark.parametrize(
    ("kind", "window", "attention"),
    [
        ("mistral", None, "eager"),
        ("mistral", 8, "sdpa"),
        ("mistral", 8, "eager"),
        ("gemma2", 8, "eager"),  # it has no other
        ("gemma3", 8, "sdpa"),
        ("gemma3", 8, "eager"),
    ],
)
def test_the_sampler_attends_to_what_the_trainer_attends_to(
    kind: str, window: int | None, attention: str, sampler: type[TokenSampler]
) -> None:
    """Episodes grow beyond the window. The models' norms are in single precision."""
    made = policy(kind, window, attention)
    assert not is_lean(made.decoder)
    assert max(play(made, generator(made, kind=sampler))) < 2e-5


def test_layers_whose_masks_are_unknown_are_refused() -> None:
    made = policy("gemma3", 8, "sdpa")
    made.config.layer_types = ["chunked_attention", "full_attention"]
    with pytest.raises(ModelError, match=r"layer_types.*chunked_attention.*take a model"):
        generator(made)


def test_windows_of_gpt_neo_are_refused() -> None:
    kinds: Settings = {"attention_types": [[["global", "local"], 1]], "window_size": 4}
    sizes = {name: SIZES[name] for name in ("vocab_size", "hidden_size", "max_position_embeddings")}
    model = GPTNeoForCausalLM(GPTNeoConfig(**sizes, **kinds, num_layers=2, num_heads=4))
    with pytest.raises(ModelError, match=r"local.*take a model"):
        generator(Policy(model, "none"))


def test_a_decoder_that_asks_for_one_length_of_all_rows_is_refused() -> None:
    sizes = {name: SIZES[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")}
    model = OPTForCausalLM(OPTConfig(**sizes, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=64))
    made = Policy(model, "none")
    with pytest.raises(ModelError, match="needs one length for all episodes"):
        play(made, generator(made))


def test_a_row_that_sees_no_column_has_finite_attention() -> None:
    """An idle row of a decoding step can be more than a window after all columns; its states stay in the cache."""
    mask = causal_mask(torch.tensor([[20]]), 8, torch.float32, 4)
    assert mask.softmax(-1).isfinite().all()
