"""Logits of models that scale or cap them: a policy is the model that `from_pretrained` and vLLM serve."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)

from agents.errors import ModelError
from agents.gateway.decoder import Decoder, Distribution, Generation
from agents.models.bundle import build_policy
from agents.models.config import PolicyConfig
from agents.models.policy import Policy
from tests.agents.bandit import WORDS
from tests.agents.models.pretrained import llama_folder
from tests.agents.rollout.test_sampler import generator, play

IDS = torch.tensor([[3, 4, 5, 6, 7, 8]])
CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "granite": (GraniteForCausalLM, GraniteConfig, {"logits_scaling": 8.0}),
    "cohere": (CohereForCausalLM, CohereConfig, {"logit_scale": 0.0625}),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, {"final_logit_softcapping": 1.0, "head_dim": 8}),
}


@pytest.fixture(params=CASES)
def model(request: pytest.FixtureRequest) -> nn.Module:
    kind, config, more = CASES[request.param]
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    tokens = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2}
    made: nn.Module = kind(config(**sizes, **tokens, **more, num_hidden_layers=2, initializer_range=0.5))
    return made.double().eval()


def exact(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the tokens of the model itself: ids (1, l) -> (l - 1,)."""
    with torch.no_grad():
        scores: torch.Tensor = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return scores.gather(-1, ids[0, 1:, None]).squeeze(-1)


def test_the_trainer_scores_tokens_as_the_model_does(model: nn.Module) -> None:
    policy = Policy(model, "none")
    got, _ = policy.log_probs(policy.hidden(IDS)[0, :-1], IDS[0, 1:])
    torch.testing.assert_close(got, exact(model, IDS), atol=1e-12, rtol=0)


def test_the_sampler_scores_tokens_as_the_trainer_does(model: nn.Module) -> None:
    policy = Policy(model, "none")
    assert max(play(policy, generator(policy))) < 2e-5  # norms are in single precision


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_gateway_scores_tokens_as_the_model_does(model: nn.Module, top_p: float) -> None:
    decoder, ids = Decoder(Policy(model, "none"), 60), IDS[0].tolist()
    decoder.start()
    try:
        made = decoder.submit(Generation(ids, 6, 0, Distribution(2, 1.0, top_p))).result(60)
    finally:
        decoder.stop()
    want = exact(model, torch.tensor([ids + made.ids]))[len(ids) - 1 :]
    torch.testing.assert_close(torch.tensor(made.log_probs, dtype=torch.float64), want, atol=2e-5, rtol=0)


def test_a_model_whose_logits_the_policy_does_not_compute_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = llama_folder(tmp_path)
    monkeypatch.setattr("transformers.LlamaForCausalLM.forward", _doubled)
    with pytest.raises(ModelError, match=r"model_type=llama.*take a model of another type"):
        build_policy(PolicyConfig(model=str(folder)))


def _doubled(model: Any, input_ids: torch.Tensor, **_: Any) -> Any:
    output = model.model(input_ids=input_ids)
    output.logits = 2 * model.lm_head(output.last_hidden_state)
    return output
