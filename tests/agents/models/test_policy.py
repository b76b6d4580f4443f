"""The policy's value head and log-probabilities."""

from __future__ import annotations

import shutil

import pytest
import torch
import torch._dynamo
from torch.nn import functional

import agents.models.policy
from agents.models.config import ValueTrunk
from agents.models.policy import Policy
from agents.training.batch import collate
from agents.training.forward import final_values, score, score_all, value_all
from agents.training.objective import policy_loss, prepare
from tests.agents.bandit import WORDS, bandit_config, exact_model, llama
from tests.agents.training.test_losses import episodes, policy


@pytest.mark.parametrize(("trunk", "moves"), [("shared", True), ("detached", False), ("apart", False), ("none", False)])
def test_only_a_shared_trunk_lets_the_critic_move_the_policy(trunk: ValueTrunk, moves: bool) -> None:
    model = policy(trunk)
    batch = collate(episodes(), 0, dtype=torch.float64)
    value = score(model, batch).value
    if trunk == "none":
        assert (value == 0).all()
        return
    value.sum().backward()
    gradients = [p.grad for p in model.language_model.parameters() if p.grad is not None]
    assert any(bool(g.abs().sum() > 0) for g in gradients) == moves


def test_a_fresh_critic_says_zero_so_that_it_adds_no_noise() -> None:
    batch = collate(episodes(), 0)
    assert (score(Policy(llama(), "apart"), batch).value == 0).all()


def test_chunked_log_probs_are_the_cross_entropy_and_so_are_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Policy(exact_model(), "none")
    hidden = torch.randn(23, model.width, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(len(WORDS), (23,))
    want = -functional.cross_entropy(model.output_layer(hidden) / 0.7, targets, reduction="none")
    (expected,) = torch.autograd.grad(want.sum(), hidden)
    monkeypatch.setattr(agents.models.policy, "_CHUNK", 5)
    got, entropy = model.log_probs(hidden, targets, 0.7)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), hidden)[0], expected, atol=1e-12, rtol=0)
    exact = torch.distributions.Categorical(logits=model.output_layer(hidden) / 0.7).entropy()
    torch.testing.assert_close(entropy, exact.detach(), atol=1e-12, rtol=0)


def test_scores_do_not_depend_on_company_or_padding() -> None:
    model, played = policy(), episodes()
    alone = [score_all(model, collate([e], 0, dtype=torch.float64), 1000) for e in played]
    for padding in ("right", "left"):
        together = score_all(model, collate(played, 0, dtype=torch.float64, padding=padding), 30)  # type: ignore[arg-type]
        for row, one in enumerate(alone):
            for got, want in zip(together, one, strict=True):
                torch.testing.assert_close(got[row, : want.shape[1]], want[0], atol=1e-12, rtol=0)
                assert (got[row, want.shape[1] :] == 0).all()


@pytest.mark.parametrize("trunk", ["shared", "detached", "apart", "none"])
def test_values_alone_are_those_of_a_whole_score(trunk: ValueTrunk) -> None:
    model, played = policy(trunk), episodes()
    for padding in ("right", "left"):
        batch = collate(played, 0, dtype=torch.float64, padding=padding)  # type: ignore[arg-type]
        assert torch.equal(value_all(model, batch, 30), score_all(model, batch, 30).value)


def test_a_critic_apart_judges_without_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = policy("apart"), collate(episodes(), 0, dtype=torch.float64)
    want = score_all(model, batch, 1000).value
    monkeypatch.setattr(model, "hidden", None)
    assert torch.equal(value_all(model, batch, 1000), want)


def test_final_values_are_those_of_the_last_token_of_truncated_episodes() -> None:
    model = policy()
    one, two, three = episodes(3)
    object.__setattr__(two, "end", "truncated")
    want = model.values(
        model.hidden(torch.tensor([two.ids])),
        torch.tensor([two.ids]),
        None,
        torch.tensor([0]),
        torch.tensor([len(two.ids) - 1]),
    )
    for padding in ("right", "left"):
        batch = collate([one, two, three], 0, dtype=torch.float64, padding=padding)  # type: ignore[arg-type]
        got = final_values(model, batch, 1000)
        assert got[0] == got[2] == 0
        torch.testing.assert_close(got[1:2], want.detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("entropy_coef", "matrices"), [(0.0, 1), (0.1, 2)])
def test_an_entropy_that_is_only_logged_keeps_no_matrix_of_tokens_and_vocabulary(
    entropy_coef: float, matrices: int
) -> None:
    vocabulary = 512
    model, batch = Policy(llama(hidden=4, vocab=vocabulary), "none"), collate(episodes(), 0)
    config = bandit_config(algo="grpo", algorithm={"entropy_coef": entropy_coef})
    loss = policy_loss(model, prepare(model, batch, config), config)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() >= batch.tokens * vocabulary:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = loss(batch, torch.arange(len(batch)))
    assert sum(kept.values()) == matrices * batch.tokens * vocabulary * 4
    want = score_all(model, batch, 10_000).entropy.sum()
    torch.testing.assert_close(terms["entropy"].detach(), want)
    assert terms["entropy"].requires_grad == (entropy_coef > 0)


NEEDS_COMPILER = pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, NEEDS_COMPILER])])
def test_a_compiled_policy_gives_the_loss_and_gradients_of_a_plain_one(backend: str) -> None:
    """Also for a batch of another shape, for which nothing is compiled again."""
    torch._dynamo.reset()
    model = Policy(llama(hidden=16), "none")
    batches = [torch.arange(3, 3 + 6).repeat(4, 2), torch.arange(4, 4 + 5).repeat(3, 1)]

    def losses_and_gradients() -> list[torch.Tensor]:
        found = []
        for ids in batches:
            log_prob, _ = model.log_probs(model.hidden(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            found += [log_prob.mean().detach()]
            found += torch.autograd.grad(log_prob.mean(), list(model.language_model.parameters()))
        return found

    want = losses_and_gradients()
    model.compile_trunk(backend)
    counts = torch._dynamo.utils.counters["stats"]
    before = counts["unique_graphs"]
    torch.testing.assert_close(losses_and_gradients(), want, atol=1e-6, rtol=1e-4)
    assert counts["unique_graphs"] - before == 1
