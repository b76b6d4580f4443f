"""The short forward pass of the sampler computes what Transformers computes."""

import pytest
import torch
from transformers import LlamaModel, Qwen2Config, Qwen2ForCausalLM, Qwen2Model, Qwen3Model

from agents.models.decoder import SHAPES, build_decoder
from agents.models.policy import Policy
from agents.rollout.lean_decoder import is_lean
from tests.agents.bandit import WORDS, exact_model, llama, word_tokenizer
from tests.agents.rollout.test_sampler import generator, play


def qwen2() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=len(WORDS), num_hidden_layers=2, **sizes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [LlamaModel, Qwen2Model, Qwen3Model])
def test_sampled_probabilities_are_those_of_the_whole_sequence(kind: type, dtype: torch.dtype) -> None:
    """Norms are in single precision in either implementation, so double precision agrees to about 1e-6."""
    models = {
        LlamaModel: llama,
        Qwen2Model: qwen2,
        Qwen3Model: lambda: build_decoder(SHAPES["nano"], word_tokenizer(), 64),
    }
    policy = Policy(models[kind]().to(dtype), "none")
    assert type(policy.decoder) is kind
    assert is_lean(policy.decoder)
    assert max(play(policy, generator(policy))) < 2e-5


def test_other_decoders_are_left_to_transformers() -> None:
    assert not is_lean(Policy(exact_model(), "none").decoder)
    sliding = qwen2()
    sliding.config.layer_types = ["full_attention", "sliding_attention"]
    assert not is_lean(Policy(sliding, "none").decoder)
