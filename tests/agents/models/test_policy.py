"""The policy's value head and log-probabilities."""

import pytest
import torch
import torch._dynamo
from torch.nn import functional

import agents.models.policy
from agents.models.config import CriticKind
from agents.models.policy import SCORES, Policy
from agents.training.batch import collate
from agents.training.forward import evaluate_actions, final_values, forward
from agents.training.losses import ppo_loss
from tests.agents.bandit import WORDS, bandit_config, exact_model, llama
from tests.agents.training.test_losses import episodes, policy


@pytest.mark.parametrize(
    ("trunk", "moves"), [("shared", True), ("detached", False), ("separate", False), ("none", False)]
)
def test_only_a_shared_trunk_lets_the_critic_move_the_policy(trunk: CriticKind, moves: bool) -> None:
    model = policy(trunk)
    batch = collate(episodes(), 0, dtype=torch.float64)
    value = forward(model, batch)["value"]
    if trunk == "none":
        assert (value == 0).all()
        return
    value.sum().backward()
    gradients = [p.grad for p in model.language_model.parameters() if p.grad is not None]
    assert any(bool(g.abs().sum() > 0) for g in gradients) == moves


def test_a_fresh_critic_says_zero_so_that_it_adds_no_noise() -> None:
    batch = collate(episodes(), 0)
    assert (forward(Policy(llama(), "separate"), batch)["value"] == 0).all()


def test_chunked_log_probs_are_the_cross_entropy_and_so_are_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Policy(exact_model(), "none")
    hidden = torch.randn(23, model.width, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(len(WORDS), (23,))
    want = -functional.cross_entropy(model.output_layer(hidden), targets, reduction="none")
    (expected,) = torch.autograd.grad(want.sum(), hidden)
    monkeypatch.setattr(agents.models.policy, "_CHUNK", 5)
    got, entropy = model.log_probs(hidden, targets)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), hidden)[0], expected, atol=1e-12, rtol=0)
    exact = torch.distributions.Categorical(logits=model.output_layer(hidden)).entropy()
    torch.testing.assert_close(entropy, exact.detach(), atol=1e-12, rtol=0)


def test_scores_do_not_depend_on_company_or_padding() -> None:
    model, played = policy(), episodes()
    for want in SCORES:
        together = evaluate_actions(model, collate(played, 0, dtype=torch.float64), want, 30)
        for row, episode in enumerate(played):
            alone = evaluate_actions(model, collate([episode], 0, dtype=torch.float64), want, 1000)
            torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-12, rtol=0)
            assert (together[row, alone.shape[1] :] == 0).all()


@pytest.mark.parametrize("trunk", ["shared", "detached", "separate", "none"])
def test_values_alone_are_those_of_a_whole_forward_pass(trunk: CriticKind) -> None:
    model, batch = policy(trunk), collate(episodes(), 0, dtype=torch.float64)
    torch.testing.assert_close(forward(model, batch, ("value",))["value"], forward(model, batch)["value"])


@pytest.mark.parametrize("trunk", ["shared", "detached"])
def test_the_gradient_of_values_alone_reaches_the_value_head_only(trunk: CriticKind) -> None:
    model, batch = policy(trunk), collate(episodes(), 0, dtype=torch.float64)
    forward(model, batch, ("value",))["value"].sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.language_model.parameters())
    assert model.value_head is not None
    assert all(p.grad is not None for p in model.value_head.parameters())


def test_a_separate_critic_needs_no_pass_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = policy("separate"), collate(episodes(), 0, dtype=torch.float64)
    want = forward(model, batch)["value"]
    monkeypatch.setattr(model, "hidden", None)
    assert torch.equal(evaluate_actions(model, batch, "value", 1000), want.detach())


@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_final_values_are_those_of_the_last_token_of_truncated_episodes(trunk: CriticKind) -> None:
    model = policy(trunk)
    one, two, three = episodes(3)
    object.__setattr__(two, "end", "truncated")
    hidden = model.hidden(torch.tensor([two.ids])) if trunk == "shared" else model.critic(torch.tensor([two.ids]))[0]  # type: ignore[misc]
    want = model.head_values(hidden[0, -1:])
    got = final_values(model, collate([one, two, three], 0, dtype=torch.float64), 1000)
    assert got[0] == got[2] == 0
    torch.testing.assert_close(got[1:2], want.detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("ent_coef", "matrices"), [(0.0, 1), (0.1, 2)])
def test_an_entropy_that_is_only_logged_keeps_no_matrix_of_tokens_and_vocabulary(
    ent_coef: float, matrices: int
) -> None:
    vocabulary = 512
    model, batch = Policy(llama(hidden=4, vocab=vocabulary), "none"), collate(episodes(), 0)
    config = bandit_config(algo="grpo", algorithm={"ent_coef": ent_coef})
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() >= batch.action_tokens * vocabulary:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = forward(model, batch, entropy_gradient=ent_coef > 0)
        terms = ppo_loss(outputs, batch, config.algorithm)
    assert sum(kept.values()) == matrices * batch.action_tokens * vocabulary * 4
    want = evaluate_actions(model, batch, "entropy", 10_000).sum()
    torch.testing.assert_close(terms["entropy"].detach(), want)
    assert terms["entropy"].requires_grad == (ent_coef > 0)
