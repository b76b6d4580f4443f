"""The copying circuit."""

import math

import pytest
import torch
from torch import Tensor

from agents.models.bundle import PolicyBundle, build_policy
from agents.models.config import PolicyConfig
from agents.models.tokenizer import train_tokenizer
from agents.training.batch import collate
from agents.training.forward import forward
from agents.training.sft import copying_episodes

VOCABULARY = 300


def fresh(seed: int = 0) -> PolicyBundle:
    tokenizer = train_tokenizer(["every byte has a token of its own, and so have some words of this sentence"], 300)
    return build_policy(PolicyConfig(critic="none", context=512), tokenizer, seed)


@pytest.fixture(scope="module")
def attention() -> list[Tensor]:
    """Attention (heads, l, l) of each layer of a fresh decoder, on 100 random tokens twice."""
    bundle = fresh()
    bundle.policy.decoder.set_attn_implementation("eager")
    chunk = torch.randperm(VOCABULARY - 3, generator=torch.Generator().manual_seed(0))[:100] + 3
    with torch.no_grad():
        output = bundle.policy.decoder(input_ids=chunk.repeat(2)[None], output_attentions=True)
    return [layer[0] for layer in output.attentions]


def test_the_first_head_looks_at_the_token_before(attention: list[Tensor]) -> None:
    before = attention[0].diagonal(-1, dim1=1, dim2=2)  # (heads, l - 1)
    assert before[0].min() > 0.95
    assert before[1:].mean() < 0.2


def test_the_matching_head_finds_what_followed_the_same_token(attention: list[Tensor]) -> None:
    followed = attention[1].diagonal(-99, dim1=1, dim2=2)[:, 1:]  # from the second half to the place after the first's
    assert followed[0].mean() > 0.7
    assert followed[1:].mean() < 0.05


def test_a_fresh_decoder_copies_and_cannot_without_the_look_back() -> None:
    bundle = fresh()
    chance = math.log(VOCABULARY)
    assert copying_loss(bundle) < 0.6 * chance
    torch.nn.init.zeros_(bundle.policy.decoder.layers[0].self_attn.q_proj.bias)
    assert copying_loss(bundle) > 0.9 * chance


def copying_loss(bundle: PolicyBundle) -> float:
    """Nats per token that could be copied."""
    exercises = list(copying_episodes(len(bundle.tokenizer), 16, seed=0, chunks=6))
    with torch.no_grad():
        log_prob = forward(bundle.policy, collate(exercises, bundle.codec.pad_id), ("log_prob",))["log_prob"]
    return -float(log_prob.sum()) / sum(episode.action_tokens for episode in exercises)
