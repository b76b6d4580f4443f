"""ArCHer's critic: against dynamic programming, its target network, its replay, and what a policy learns from it."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.errors import CheckpointError, ConfigurationError, TrainingError
from agents.models.policy import Policy
from agents.rollout.types import TokenEpisode
from agents.training.archer import archer
from agents.training.archer.critic import StepCriticLearner, polyak_update
from agents.training.archer.replay_buffer import ReplayBuffer, ReplayStep, replay_steps
from agents.training.config import OptimConfig
from tests.agents.bandit import bandit_config, exact_model, train, trainer

X, Y, A, B = 3, 4, 5, 6  # two states and two actions, as tokens
GAMMA = 0.9
FIRST = {A: 0.1, B: 0.4}  # the first state is always X
SECOND = {(X, A): 1.0, (X, B): 0.0, (Y, A): -0.5, (Y, B): 0.5}
POLICY = [A, A, B]  # takes A in two of three cases, whatever the state


def episode(first: int, state: int, second: int, **ending: Any) -> TokenEpisode:
    """Two steps of one token each: the second state is drawn by a fair coin."""
    rewards = (FIRST[first], SECOND[state, second])
    return TokenEpisode((X, first, state, second, X), ((1, 2), (3, 4)), (0.0, 0.0), rewards, **ending)


def every_step() -> list[ReplayStep]:
    """Each transition as often as each other; the policy of the replay is not the policy that is judged."""
    played = [episode(*tokens) for tokens in product((A, B), (X, Y), (A, B))]
    return replay_steps(played, [e.rewards for e in played])


def step_critic(tau: float = 0.1, lr: float = 5e-3, max_tokens: int = 16384) -> StepCriticLearner:
    optim = OptimConfig(value_lr=lr, max_tokens=max_tokens)
    return StepCriticLearner(Policy(exact_model(), "none"), optim, GAMMA, tau, max_grad_norm=10.0)


def weights_of(module: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in module.parameters()]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_the_critic_converges_to_dynamic_programming() -> None:
    """Expectations over coin and policy are enumerated, so each update is the exact gradient."""
    steps, actions = zip(*product(every_step(), POLICY), strict=True)
    bundle = step_critic(tau=0.3)
    for _ in range(200):
        bundle.update(steps, [[action] for action in actions])
    v_second = {state: mean([SECOND[state, action] for action in POLICY]) for state in (X, Y)}
    q_first = {action: reward + GAMMA * mean([*v_second.values()]) for action, reward in FIRST.items()}
    v_first = mean([q_first[action] for action in POLICY])
    for first, state, second in product((A, B), (X, Y), (A, B)):
        q, v = bundle.critic([(X, first, state, second)], [(0, 1, 2), (0, 3, 4)])
        want_q = torch.tensor([q_first[first], SECOND[state, second]], dtype=torch.float64)
        want_v = torch.tensor([v_first, v_second[state]], dtype=torch.float64)
        torch.testing.assert_close(q, want_q[:, None].expand(2, 2), atol=0.02, rtol=0)
        torch.testing.assert_close(v, want_v, atol=0.02, rtol=0)
        played = bundle.advantage([episode(first, state, second)])[0]
        torch.testing.assert_close(played, want_q - want_v, atol=0.04, rtol=0)


def test_targets_of_v_are_of_the_current_policy() -> None:
    steps = [ReplayStep((X, action), 1, 2, float(action == A), 0) for action in (A, B)]
    bundle = step_critic(tau=1.0, lr=1e-2)
    for _ in range(120):
        bundle.update(steps, [[A], [A]])
    q, v = bundle.critic([(X, A), (X, B)], [(0, 1, 2), (1, 1, 2)])
    torch.testing.assert_close(q.mean(1), torch.tensor([1.0, 0.0], dtype=torch.float64), atol=0.02, rtol=0)
    torch.testing.assert_close(v, torch.ones(2, dtype=torch.float64), atol=0.02, rtol=0)  # 0.5 over the replay


def test_the_target_network_moves_by_exactly_tau() -> None:
    bundle = step_critic(tau=0.25)
    before = weights_of(bundle.target)
    bundle.update(every_step(), [[A]] * 16)
    learnt, after = weights_of(bundle.critic), weights_of(bundle.target)
    assert any(not torch.equal(old, new) for old, new in zip(before, learnt, strict=True))
    for old, new, moved in zip(before, learnt, after, strict=True):
        torch.testing.assert_close(moved, 0.75 * old + 0.25 * new, atol=1e-15, rtol=0)
    polyak_update(bundle.target, bundle.critic, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(learnt, weights_of(bundle.target), strict=True))


def test_micro_batches_change_nothing() -> None:
    whole, pieces = step_critic(), step_critic(max_tokens=12)
    reported = [each.update(every_step(), [[A], [B]] * 8) for each in (whole, pieces)]
    assert reported[0] == pytest.approx(reported[1], abs=1e-12)
    for one, other in zip(weights_of(whole.critic), weights_of(pieces.critic), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


def test_an_episode_is_judged_equally_whole_or_cut_alone_or_in_company() -> None:
    bundle = step_critic()
    for _ in range(3):
        bundle.update(every_step(), [[A]] * 16)
    long = episode(B, Y, A)
    short = TokenEpisode(long.ids[:2], long.spans[:1], (0.0,), (0.4,))
    together = bundle.advantage([short, long])
    torch.testing.assert_close(together[0, 0], together[1, 0], atol=1e-12, rtol=0)
    assert float(together[0, 1]) == 0
    torch.testing.assert_close(bundle.advantage([long])[0], together[1], atol=1e-12, rtol=0)
    assert float(together.abs().min(1).values[1]) > 0


def test_a_state_follows_the_last_step_of_truncated_episodes_only() -> None:
    for end, following in (("truncated", 5), ("terminated", 0), ("context", 0)):
        played = episode(A, Y, B, end=end)
        assert [step.next_end for step in replay_steps([played], [played.rewards])] == [3, following]


def numbered(numbers: Sequence[int]) -> list[ReplayStep]:
    return [ReplayStep((n, n, n), 1, 2, n / 3, 0) for n in numbers]


def test_the_newest_steps_are_kept_and_drawn_reproducibly() -> None:
    buffer = ReplayBuffer(10)
    buffer.extend(numbered(range(25)))
    draws = [buffer.sample(400, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert {step.ids[0] for step in draws[0]} == set(range(15, 25))
    assert len(buffer) == 10
    assert draws[0] == draws[1] != draws[2]
    with pytest.raises(IndexError, match="empty"):
        ReplayBuffer(3).sample(1, torch.Generator())


def test_a_buffer_is_stored_whole_with_each_episode_once() -> None:
    buffer, other = ReplayBuffer(30), ReplayBuffer(30)
    buffer.extend(every_step())
    stored = buffer.tensors()
    assert len(stored["tokens"]) < 5 * len(buffer)
    other.extend(numbered([1, 2]))
    other.load(stored)
    draws = [each.sample(100, torch.Generator().manual_seed(4)) for each in (buffer, other)]
    assert draws[0] == draws[1]
    other.load(ReplayBuffer(1).tensors())
    assert len(other) == 0


def test_actions_are_resampled_where_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the state's own context: each fresh action is as likely as the sampler of the rollout would make it."""
    monkeypatch.setattr(archer, "UPDATES", 2)
    run = trainer(bandit_config(algo="archer", iterations=1, episodes=16))
    made = run._critic
    assert isinstance(made, archer.Archer)
    run.iterate()
    states = [step.state for step in made.buffer.sample(300, torch.Generator().manual_seed(0))]
    actions = made._act(states, 0)
    assert actions == made._act(states, 0) != made._act(states, 1)
    named = [action[0] for action in actions]
    assert all(sum(token == word for token in named) > 30 for word in (5, 6, 7, 8))  # a, b, c, d: the blind policy


def test_archer_learns_step_rewards(learning_seed: int) -> None:
    """One case of the bandit: from 0.25 (blind) to more than the 0.5 of one right action."""
    settings = {"critic_warmup": 4, "iterations": 30, "seed": learning_seed}
    steady = {"optim": {"lr": 1e-3}, "algorithm": {"ent_coef": 0.01}}
    returns = train(bandit_config(algo="archer", **settings, **steady), seed=learning_seed, cases="x")
    assert sum(returns[-5:]) / 5 > 0.7


def test_the_policy_waits_while_the_critic_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archer, "UPDATES", 2)
    run = trainer(bandit_config(algo="archer", critic_warmup=1, episodes=16))
    before = weights_of(run.bundle.policy)
    metrics = run.iterate()
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(run.bundle.policy), strict=True))
    assert "train/loss" not in metrics
    assert metrics["train/replay_steps"] == 32
    assert metrics["train/critic_grad_norm"] > 0
    assert "train/loss" in run.iterate()


def test_the_learning_rate_of_the_critic_is_annealed_with_that_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archer, "UPDATES", 1)
    run = trainer(bandit_config(algo="archer", iterations=2, episodes=16, anneal=True, optim={"value_lr": 0.1}))
    made = run._critic
    assert isinstance(made, archer.Archer)
    rates = []
    while not run.over:
        run.iterate()
        rates.append(made.learner.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.05])


def test_a_reward_that_is_not_finite_leaves_the_critic_as_it_was() -> None:
    bundle = step_critic()
    before = weights_of(bundle.critic)
    with pytest.raises(TrainingError, match=r"q_loss .*not finite"):
        bundle.update([ReplayStep((X, A), 1, 2, float("nan"), 0)], [[A]])
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(bundle.critic), strict=True))


def test_a_checkpoint_of_another_algorithm_cannot_be_resumed(tmp_path: Path) -> None:
    trainer(bandit_config(algo="grpo")).save(tmp_path / "c")
    run = trainer(bandit_config(algo="archer"))
    with pytest.raises(ConfigurationError, match=r"algo='archer', the run has 'grpo'"):
        run.resume(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"no step_critic.safetensors: .*another algorithm"):
        run._critic.load(tmp_path / "c")
