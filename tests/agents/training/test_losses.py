"""The losses against loops, closed forms and exact enumeration, in float64."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.models.policy import Output, Policy
from agents.rollout.types import TokenEpisode
from agents.training import advantages, losses
from agents.training.batch import Batch, collate
from agents.training.config import AlgorithmConfig, TrainConfig
from agents.training.forward import evaluate_actions, forward
from tests.agents.bandit import WORDS, bandit_config, exact_model


def episodes(count: int = 5, seed: int = 0) -> list[TokenEpisode]:
    """Random episodes of 1 to 3 steps, observations between them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    made = []
    for group in range(count):
        ids = [draw(3, len(WORDS)) for _ in range(draw(2, 6))]
        spans = []
        for _ in range(draw(1, 4)):
            length = draw(1, 4)
            spans.append((len(ids), len(ids) + length))
            ids += [draw(3, len(WORDS)) for _ in range(length + draw(0, 4))]
        ids = ids[: spans[-1][1]]
        count_tokens = sum(end - start for start, end in spans)
        log_probs = tuple(-2 + 0.3 * float(torch.randn(1, generator=generator)) for _ in range(count_tokens))
        rewards = tuple(float(torch.randn(1, generator=generator)) for _ in spans)
        made.append(
            TokenEpisode(
                tuple(ids), tuple(spans), log_probs, rewards, group=group // 2, state_hashes=("s",) * len(spans)
            )
        )
    return made


def policy(trunk: Any = "separate", seed: int = 0) -> Policy:
    made = Policy(exact_model(seed), trunk)
    if made.value_head is not None:
        with torch.no_grad():
            made.value_head[2].weight.normal_(generator=torch.Generator().manual_seed(1))  # type: ignore[index, operator, union-attr]
    return made.double()


def naive_loss(model: Policy, played: list[TokenEpisode], config: TrainConfig) -> Tensor:
    """PPO with step-grained advantages, one episode and one token at a time, as the formulas say it."""
    algorithm = config.algorithm
    scored = []
    for episode in played:
        ids = torch.tensor([episode.ids])
        hidden = model.hidden(ids)
        log_probs = model.output_layer(hidden)[0].log_softmax(-1)
        tokens = [(k, t) for k, (start, end) in enumerate(episode.spans) for t in range(start, end)]
        states = hidden[0] if model.critic is None else model.critic(input_ids=ids).last_hidden_state[0]
        value = model.head_values(states[torch.tensor([t - 1 for _, t in tokens])])
        logp = torch.stack([log_probs[t - 1, episode.ids[t]] for _, t in tokens])
        scored.append((episode, [k for k, _ in tokens], logp, value))
    advantages = []
    lambda_token = algorithm.gae_lambda if algorithm.advantage == "token_gae" else 1.0
    for episode, steps, _, value in scored:
        v, a = value.detach().tolist(), [0.0] * len(steps)
        for j in reversed(range(len(steps))):
            if j + 1 < len(steps) and steps[j + 1] == steps[j]:
                a[j] = v[j + 1] - v[j] + lambda_token * a[j + 1]
            elif j + 1 < len(steps):
                delta = episode.rewards[steps[j]] + algorithm.gamma * v[j + 1] - v[j]
                a[j] = delta + algorithm.gamma * algorithm.gae_lambda * a[j + 1]
            else:
                a[j] = episode.rewards[steps[j]] - v[j]
        advantages.append(a)
    means = [
        sum(x for x, s in zip(a, steps, strict=True) if s == k) / steps.count(k)
        for (_, steps, _, _), a in zip(scored, advantages, strict=True)
        for k in range(max(steps) + 1)
    ]
    centre = sum(means) / len(means)
    spread = math.sqrt(sum((m - centre) ** 2 for m in means) / len(means))
    total, count = torch.zeros((), dtype=torch.float64), 0
    for (episode, steps, logp, value), a in zip(scored, advantages, strict=True):
        for j in range(len(steps)):
            advantage = (a[j] - centre) / spread
            ratio = (logp[j] - episode.log_probs[j]).exp()
            now = float(ratio.detach())
            clipped = min(max(now, 1 - algorithm.clip_coef), 1 + algorithm.clip_coef)
            surrogate = ratio * advantage if now * advantage <= clipped * advantage else clipped * advantage
            error = value[j] - (a[j] + float(value[j].detach()))
            total = total - surrogate + losses.VF_COEF * 0.5 * error**2
            count += 1
    return total / count


def prepared(model: Policy, played: list[TokenEpisode], config: AlgorithmConfig, pad_id: int = 0) -> Batch:
    """A batch with values, advantages and returns."""
    batch = collate(played, pad_id, dtype=model.score_dtype)
    if model.value_head is not None:
        batch.value = evaluate_actions(model, batch, "value", 10_000)
    batch.advantage, batch.returns = advantages.compute_advantages(batch, advantages.make_estimator(config), config)
    return batch


def loss_and_gradients(
    model: Policy, played: list[TokenEpisode], config: TrainConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    batch = prepared(model, played, config.algorithm)
    model.zero_grad()
    loss = losses.ppo_loss(forward(model, batch), batch, config.algorithm)["loss"] / batch.action_tokens
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), gradients(model)


def gradients(model: Policy) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], atol: float = 1e-10) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=atol, rtol=0)


CONFIG = bandit_config(algorithm={"advantage": "token_gae", "gamma": 0.9, "gae_lambda": 0.8})


@pytest.mark.parametrize("advantage", ["step_gae", "token_gae"])
def test_the_vectorised_loss_and_its_gradient_equal_a_loop_over_tokens(advantage: str) -> None:
    played, model = episodes(), policy()
    config = bandit_config(algorithm={"advantage": advantage, "gamma": 0.9, "gae_lambda": 0.8})
    loss, vectorised = loss_and_gradients(model, played, config)
    model.zero_grad()
    naive = naive_loss(model, played, config)
    naive.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, naive.detach(), atol=1e-10, rtol=0)
    assert_close(vectorised, gradients(model))


def surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> Tensor:
    """PPO's surrogate of tokens (b, j), summed."""
    batch = collate([TokenEpisode((1, 2), ((1, 2),), (0.0,), (0.0,))], 0)
    batch.old_log_prob, batch.advantage = old_log_prob, advantage
    outputs: dict[Output, Tensor] = {"log_prob": log_prob, "entropy": torch.zeros_like(log_prob)}
    return losses.ppo_loss(outputs, batch, AlgorithmConfig())["policy_loss"]


def test_first_mini_batch_of_ppo_is_the_policy_gradient() -> None:
    """At ratio 1 nothing is clipped and d ratio = d log p: PPO's first gradient is A2C's."""
    log_prob = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    advantage = torch.randn(2, 5, dtype=torch.float64)
    (first,) = torch.autograd.grad(surrogate(log_prob, log_prob.detach(), advantage), log_prob)
    torch.testing.assert_close(first, -advantage, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope"), [(1.5, 1.0, 0), (1.5, -1.0, 1), (0.5, 1.0, 1), (0.5, -1.0, 0)]
)
def test_clipping_stops_only_what_goes_too_far(ratio: float, advantage: float, slope: int) -> None:
    log_prob = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    surrogate(log_prob, torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[advantage]])).backward()  # type: ignore[no-untyped-call]
    assert log_prob.grad is not None
    assert float(log_prob.grad) == pytest.approx(-slope * ratio * advantage)


def test_k3_is_never_negative_and_zero_only_at_equality() -> None:
    log_prob = torch.linspace(-3, 0, 7, dtype=torch.float64)
    assert (losses.kl_k3(log_prob, log_prob) == 0).all()
    assert (losses.kl_k3(log_prob, log_prob.flip(0)) >= 0).all()


def test_k3_is_unbiased() -> None:
    """Its expectation under p is KL(p | q), summed exactly over a small vocabulary."""
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(0) for _ in range(2))
    exact = (p.exp() * (p - q)).sum()
    torch.testing.assert_close((p.exp() * losses.kl_k3(p, q)).sum(), exact, atol=1e-12, rtol=0)


def test_preference_falls_with_the_margin_and_is_log_two_at_none() -> None:
    margin = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    loss = losses.dpo_loss(margin, torch.zeros_like(margin), beta=1.0)
    assert float(loss[1]) == pytest.approx(math.log(2))
    assert loss[0] > loss[1] > loss[2]


# A tabular task: 2 tools, 3 steps; a policy with a row of logits for every history.
REWARD = torch.tensor([[0.3, -0.1], [0.0, 0.5], [-0.4, 0.9]], dtype=torch.float64)


def table() -> Tensor:
    return torch.randn(7, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()


def histories(actions: tuple[int, ...]) -> list[int]:
    """Index of the state before each action: histories in order of length, then as binary numbers."""
    return [2**t - 1 + sum(a * 2 ** (t - 1 - i) for i, a in enumerate(actions[:t])) for t in range(3)]


def rewards_of(actions: tuple[int, ...]) -> list[float]:
    """The third step pays its reward only when the first chose tool 1: delayed credit."""
    return [float(REWARD[t, a]) * (1 if t < 2 else actions[0]) for t, a in enumerate(actions)]


def enumerated(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probabilities of the actions, probability and rewards of all 8 trajectories."""
    every = list(itertools.product((0, 1), repeat=3))
    log_prob = torch.stack([logits[histories(a)].log_softmax(-1)[range(3), list(a)] for a in every])
    return log_prob, log_prob.sum(1).exp(), torch.tensor([rewards_of(a) for a in every], dtype=torch.float64)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_policy_gradient_equals_that_of_the_enumerated_objective(gamma: float) -> None:
    """E[sum_k log p * G_k gamma^k] over all 8 trajectories has exactly the gradient of J = E[sum gamma^k r_k]."""
    logits = table()
    log_prob, probability, reward = enumerated(logits)
    weight = gamma ** torch.arange(3, dtype=torch.float64)
    exact = torch.autograd.grad((probability * (reward * weight).sum(1)).sum(), logits, retain_graph=True)[0]

    step = torch.arange(3).expand(8, 3)
    steps = torch.full((8,), 3)
    for credit in (
        advantages.reinforce(reward, steps, gamma=gamma),
        advantages.step_gae(reward, torch.full((8, 3), 0.7, dtype=torch.float64), step, gamma=gamma, gae_lambda=1.0),
    ):
        sampled = ((log_prob * credit * weight).sum(1) * probability.detach()).sum()
        (estimate,) = torch.autograd.grad(sampled, logits, retain_graph=True)
        torch.testing.assert_close(estimate, exact, atol=1e-12, rtol=0)


def test_released_weighting_has_another_gradient_than_the_objective() -> None:
    """The negative control of the test above: the last reward is lost, so the gradient is wrong."""
    logits = table()
    log_prob, probability, reward = enumerated(logits)
    exact = torch.autograd.grad((probability * reward.sum(1)).sum(), logits, retain_graph=True)[0]
    step = torch.arange(3).expand(8, 3)
    zeros = torch.zeros(8, 3, dtype=torch.float64)
    credit = advantages.released_gae(reward, zeros, step, zeros.long(), gamma=1.0, gae_lambda=1.0)
    sampled = (log_prob * credit * probability.detach()[:, None]).sum()
    (estimate,) = torch.autograd.grad(sampled, logits)
    assert (estimate - exact).abs().max() > 0.01
