"""Identities of the estimators, in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.training import advantages

GAMMA, LAM = 0.9, 0.8


def packed(rows: list[list[int]]) -> Tensor:
    """Lengths of each episode's actions -> `step`."""
    steps = [[k for k, length in enumerate(lengths) for _ in range(length)] for lengths in rows]
    width = max(map(len, steps))
    return torch.tensor([row + [-1] * (width - len(row)) for row in steps])


def random_case(rows: list[list[int]], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random rewards (b, k), values (b, j) and the steps (b, j)."""
    generator = torch.Generator().manual_seed(seed)
    step = packed(rows)
    reward = torch.randn(len(rows), max(map(len, rows)), generator=generator, dtype=torch.float64)
    value = torch.randn(step.shape, generator=generator, dtype=torch.float64) * (step >= 0)
    return reward * (torch.arange(reward.shape[1]) < lengths(rows)[:, None]), value, step


def lengths(rows: list[list[int]]) -> Tensor:
    return torch.tensor([len(row) for row in rows])


def naive_step_gae(
    reward: list[float], value: list[float], step: list[int], gamma: float, gae_lambda: float, tok: float
) -> list[float]:
    """The definition, one token at a time."""
    advantage = [0.0] * len(step)
    for j in reversed(range(len(step))):
        if j == len(step) - 1:
            advantage[j] = reward[step[j]] - value[j]
        elif step[j] == step[j + 1]:
            advantage[j] = value[j + 1] - value[j] + tok * advantage[j + 1]
        else:
            delta = reward[step[j]] + gamma * value[j + 1] - value[j]
            advantage[j] = delta + gamma * gae_lambda * advantage[j + 1]
    return advantage


shapes = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(rows=shapes, seed=st.integers(0, 1000), tok=st.sampled_from([1.0, 0.95, 0.0]))
def test_step_gae_equals_its_definition(rows: list[list[int]], seed: int, tok: float) -> None:
    reward, value, step = random_case(rows, seed)
    got = advantages.step_gae(reward, value, step, gamma=GAMMA, gae_lambda=LAM, gae_lambda_token=tok)
    for row, actions in enumerate(rows):
        n = sum(actions)
        want = naive_step_gae(reward[row].tolist(), value[row].tolist(), step[row, :n].tolist(), GAMMA, LAM, tok)
        np.testing.assert_allclose(got[row, :n], want, atol=1e-12)
        assert (got[row, n:] == 0).all()


def test_with_full_traces_the_advantage_is_return_minus_value() -> None:
    reward, value, step = random_case([[3, 1, 2], [2], [1, 4]])
    got = advantages.step_gae(reward, value, step, gamma=GAMMA, gae_lambda=1.0, gae_lambda_token=1.0)
    returns = advantages.returns_to_go(reward, GAMMA)
    torch.testing.assert_close(got, advantages.broadcast_to_tokens(returns, step) - value, atol=1e-12, rtol=0)


def test_a_value_constant_within_steps_gives_the_broadcast_step_estimator() -> None:
    rows = [[3, 1, 2], [1, 4, 1]]
    reward, _, step = random_case(rows)
    step_value = torch.randn(2, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    got = advantages.step_gae(
        reward, advantages.broadcast_to_tokens(step_value, step), step, gamma=GAMMA, gae_lambda=LAM
    )
    following = torch.cat([step_value[:, 1:], torch.zeros(2, 1)], dim=1)
    delta = reward + GAMMA * following - step_value
    textbook = torch.zeros_like(delta)
    running = torch.zeros(2, dtype=torch.float64)
    for k in (2, 1, 0):
        running = delta[:, k] + GAMMA * LAM * running
        textbook[:, k] = running
    torch.testing.assert_close(got, advantages.broadcast_to_tokens(textbook, step), atol=1e-12, rtol=0)


def test_one_token_steps_give_the_textbook_estimator() -> None:
    reward, value, step = random_case([[1, 1, 1, 1]])
    got = advantages.step_gae(reward, value, step, gamma=GAMMA, gae_lambda=LAM)[0]
    delta = [float(reward[0, t] + GAMMA * (value[0, t + 1] if t < 3 else 0) - value[0, t]) for t in range(4)]
    want = [sum((GAMMA * LAM) ** (i - t) * delta[i] for i in range(t, 4)) for t in range(4)]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_without_discount_and_with_equal_traces_it_is_token_gae() -> None:
    reward, value, step = random_case([[2, 3], [4, 1]])
    got = advantages.step_gae(reward, value, step, gamma=1.0, gae_lambda=LAM, gae_lambda_token=LAM)
    token_reward = torch.zeros_like(value)
    token_reward[0, 1], token_reward[0, 4] = reward[0]
    token_reward[1, 3], token_reward[1, 4] = reward[1]
    following = torch.cat([value[:, 1:], torch.zeros(2, 1)], dim=1)
    delta = token_reward + following - value
    want = torch.stack([sum((LAM**i) * delta[:, t + i] for i in range(5 - t)) for t in range(5)], dim=1)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


def test_padding_changes_nothing() -> None:
    reward, value, step = random_case([[2, 1]])
    alone = advantages.step_gae(reward, value, step, gamma=GAMMA, gae_lambda=LAM)
    wide_step = torch.cat([step, torch.full((1, 3), -1)], dim=1)
    wide_value = torch.cat([value, torch.full((1, 3), 7.0)], dim=1)
    padded = advantages.step_gae(reward, wide_value, wide_step, gamma=GAMMA, gae_lambda=LAM)
    torch.testing.assert_close(padded[:, :3], alone, atol=0, rtol=0)
    assert (padded[:, 3:] == 0).all()


def test_a_truncated_episode_bootstraps_from_its_final_state() -> None:
    reward, value, step = random_case([[2, 2]])
    over = advantages.step_gae(reward, value, step, gamma=GAMMA, gae_lambda=1.0)
    cut = advantages.step_gae(
        reward, value, step, gamma=GAMMA, gae_lambda=1.0, final_value=torch.tensor([3.0], dtype=torch.float64)
    )
    torch.testing.assert_close(cut - over, GAMMA * 3.0 * torch.tensor([[GAMMA, GAMMA, 1.0, 1.0]], dtype=torch.float64))


def test_a_terminal_sum_keeps_the_sum_and_moves_it_to_the_last_step() -> None:
    reward, _, _ = random_case([[1, 1, 1], [1]])
    moved = advantages.terminal_sum(reward, lengths([[1, 1, 1], [1]]))
    torch.testing.assert_close(moved.sum(1), reward.sum(1))
    assert (moved[0, :2] == 0).all()
    assert moved[1, 0] == reward[1, 0]


@pytest.mark.parametrize("gap", [0, 3])
def test_released_matches_a_recursion_over_every_token(gap: int) -> None:
    """Token by token through the observations, their values masked to zero."""
    score = torch.tensor([[0.4, 0.7, 1.0]], dtype=torch.float64)
    _, value, step = random_case([[2, 1, 2]])
    gaps = torch.tensor([[0, gap, gap, 0, 0]])
    got = advantages.released_gae(score, value, step, gaps, gamma=0.99, gae_lambda=0.95)[0]
    tokens: list[tuple[float, float, int]] = []  # reward, value, action index or -1
    weights = {1: 2 * 0.4, 2: 1 * 0.7, 4: 0.0}
    for j in range(5):
        tokens.append((weights.get(j, 0.0), float(value[0, j]), j))
        tokens.extend([(0.0, 0.0, -1)] * int(gaps[0, j]))
    running = 0.0
    for t in reversed(range(len(tokens))):
        following = tokens[t + 1][1] if t + 1 < len(tokens) else 0.0
        running = tokens[t][0] + 0.99 * following - tokens[t][1] + 0.99 * 0.95 * running
        if tokens[t][2] >= 0:
            assert float(got[tokens[t][2]]) == pytest.approx(running, abs=1e-12)


def test_released_never_trains_the_final_reward() -> None:
    score, value, step = random_case([[2, 2, 2]])
    other = score.clone()
    other[0, 2] += 10
    gap = torch.zeros_like(step)
    a, b = (advantages.released_gae(s, value, step, gap, gamma=0.99, gae_lambda=0.95) for s in (score, other))
    assert torch.equal(a, b)
    right = [advantages.step_gae(s, value, step, gamma=0.99, gae_lambda=0.95) for s in (score, other)]
    assert not torch.allclose(*right)


GROUPED = ([[1, 1], [2], [1, 1, 1], [1]], torch.tensor([0, 0, 1, 1]))


def test_rloo_compares_with_the_others_of_the_group() -> None:
    rows, group = GROUPED
    reward, _, _ = random_case(rows)
    total = reward.sum(1)
    got = advantages.rloo(reward, lengths(rows), group)
    assert float(got[0, 0]) == pytest.approx(float(total[0] - total[1]))
    assert float(got[0, 1]) == float(got[0, 0])
    assert float(got[1, 1]) == 0  # padding
    alone = advantages.rloo(reward, lengths(rows), torch.arange(4))
    assert (alone == 0).all()


def test_grpo_has_mean_zero_and_deviation_one_in_each_group() -> None:
    rows, group = [[1]] * 8, torch.tensor([0] * 4 + [1] * 4)
    reward, _, _ = random_case(rows)
    got = advantages.grpo(reward, lengths(rows), group)[:, 0].reshape(2, 4)
    torch.testing.assert_close(got.mean(1), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(got.std(1, correction=0), torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_group_without_variance_has_no_advantage() -> None:
    reward = torch.full((3, 2), 0.1, dtype=torch.float64)
    steps, group = torch.tensor([2, 2, 2]), torch.zeros(3, dtype=torch.long)
    for got in (
        advantages.grpo(reward, steps, group),
        advantages.rloo(reward, steps, group),
        advantages.gigpo(reward, steps, group, [["a", "b"]] * 3, gamma=1.0),
    ):
        assert got.abs().max() < 1e-6


def test_gigpo_with_singleton_anchors_is_grpo() -> None:
    rows, group = GROUPED
    reward, _, _ = random_case(rows)
    state_hashes = [[f"{row}-{k}" for k in range(len(actions))] for row, actions in enumerate(rows)]
    got = advantages.gigpo(reward, lengths(rows), group, state_hashes, gamma=GAMMA)
    torch.testing.assert_close(got, advantages.grpo(reward, lengths(rows), group), atol=1e-6, rtol=0)


def test_gigpo_compares_actions_taken_in_the_same_state() -> None:
    """Two episodes share the first state: the step part tells their first actions apart, by returns to go."""
    reward = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    steps, group = torch.tensor([2, 2]), torch.tensor([0, 0])
    got = advantages.gigpo(reward, steps, group, [["start", "x"], ["start", "y"]], gamma=1.0)
    within = got - advantages.grpo(reward, steps, group)
    torch.testing.assert_close(within, torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64), atol=1e-6, rtol=0)
    apart = advantages.gigpo(reward, steps, torch.tensor([0, 1]), [["start", "x"], ["start", "y"]], gamma=1.0)
    assert (apart == 0).all()  # other groups are other tasks


def test_normalising_by_step_index_is_biased_and_step_grpo_is_not() -> None:
    """Going on pays nothing here, but episodes that go on are those that began badly.

    Compared with their own kind at index 1, half of them look good: the expected credit of the second
    step is raised although every second step is worth the same as stopping.
    """
    reward = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.2], [0.0, -0.2]], dtype=torch.float64)
    steps, group = torch.tensor([1, 1, 2, 2]), torch.zeros(4, dtype=torch.long)
    returns = advantages.returns_to_go(reward)
    by_index = (returns - torch.stack([returns[:, 0].mean(), returns[2:, 1].mean()])) / torch.stack(
        [returns[:, 0].std(correction=0), returns[2:, 1].std(correction=0)]
    )
    pooled = advantages.step_grpo(reward, steps, group, gamma=1.0)
    assert float(by_index[2, 1]) == pytest.approx(1.0)  # a tiny lead among the unlucky counts like full success
    assert float(pooled[2, 1]) < 0 < float(pooled[0, 0])  # against all steps of the group it is below average
    assert float(pooled[1, 1]) == 0  # padding


def test_normalising_is_over_steps_not_tokens() -> None:
    step = packed([[9, 1], [1, 1]])
    steps = torch.tensor([2, 2])
    by_step = torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=torch.float64)
    got = advantages.normalize(advantages.broadcast_to_tokens(by_step, step), step, steps)
    means = advantages.mean_per_step(got, step, 2)
    torch.testing.assert_close(means.mean(), torch.tensor(0.0, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(means.std(correction=0), torch.tensor(1.0, dtype=torch.float64), atol=1e-6, rtol=0)


EQUAL = [(0.7, 3), (0.7, 13), (0.7, 48), (0.1, 7), (1e4, 48), (33.3, 13), (70.3, 8), (250.7, 16), (0.7, 2000)]
"""A reward, and a number of episodes that get it. In single precision their mean is often another number."""


@pytest.mark.parametrize(("reward", "episodes"), EQUAL)
def test_equal_advantages_are_zero_not_rounding_errors(reward: float, episodes: int) -> None:
    step, steps = packed([[1]] * episodes), torch.ones(episodes, dtype=torch.long)
    assert not advantages.normalize(torch.full((episodes, 1), reward), step, steps).any()


@pytest.mark.parametrize(("reward", "episodes"), EQUAL)
def test_a_group_of_equal_returns_has_no_advantage_at_any_scale(reward: float, episodes: int) -> None:
    """One episode has its return in two parts, whose sum is rounded in another way."""
    rewards = torch.tensor([[reward, 0.0]] * (episodes - 1) + [[reward / 3, reward - reward / 3]])
    steps, group = torch.full((episodes,), 2), torch.zeros(episodes, dtype=torch.long)
    states = [[f"{row}-{k}" for k in range(2)] for row in range(episodes)]
    assert not advantages.rloo(rewards, steps, group).any()
    assert not advantages.grpo(rewards, steps, group).any()
    assert not advantages.gigpo(rewards, steps, group, states, gamma=1.0).any()
    assert not advantages.step_grpo(torch.full_like(rewards, reward), steps, group, gamma=0.0).any()


def test_the_critic_target_of_step_gae_solves_dynamic_programming() -> None:
    """With lambda 0 and V the true values of a deterministic chain, every advantage vanishes."""
    reward = torch.tensor([[0.5, -0.2, 1.0]], dtype=torch.float64)
    step = packed([[2, 1, 3]])
    true = advantages.broadcast_to_tokens(advantages.returns_to_go(reward, GAMMA), step)
    got = advantages.step_gae(reward, true, step, gamma=GAMMA, gae_lambda=0.0, gae_lambda_token=0.0)
    assert got.abs().max() < 1e-12


@pytest.mark.parametrize("name", ["rloo", "grpo", "gigpo", "step_grpo"])
def test_an_episode_of_several_sequences_counts_once_in_its_group(name: str) -> None:
    """Two episodes return 1 and 0; the first has ten sequences, because its agent rewrote its history."""
    estimate: Any = getattr(advantages, name)
    reward = torch.tensor([[1.0]] * 10 + [[0.0]])
    steps, group, part = torch.ones(11, dtype=torch.long), torch.zeros(11, dtype=torch.long), torch.arange(11) % 10
    more = {"gigpo": {"state_hashes": [[str(row)] for row in range(11)], "gamma": 1.0}, "step_grpo": {"gamma": 1.0}}
    got = estimate(reward, steps, group, part=part, **more.get(name, {}))[:, 0]
    if name != "step_grpo":  # whose group is one of steps
        torch.testing.assert_close(got, torch.tensor([1.0] * 10 + [-1.0]))
    alone = estimate(reward, steps, part // 99, part=torch.arange(11), **more.get(name, {}))
    torch.testing.assert_close(alone, torch.zeros_like(alone))
