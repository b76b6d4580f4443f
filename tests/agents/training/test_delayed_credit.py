"""Learning: algorithms with credit over time solve a bandit whose last call pays for the first; controls do not."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from agents.training.advantages import Estimator, make_estimator
from agents.training.batch import Batch
from agents.training.config import AlgorithmConfig
from tests.agents.bandit import DelayedBandit, bandit_config, train

LEARNT, NOT_LEARNT = 0.8, 0.6
"""Returns: a blind policy has 0.25, the best that ignores the case 0.5, the best of all 1."""

SETTINGS: dict[str, Any] = {"calls": 4800, "optim": {"lr": 1.5e-3, "value_lr": 3e-3}}
SLOWER: dict[str, dict[str, Any]] = {"reinforce": {"calls": 7680, "optim": {"lr": 3e-3}}, "tree": {"calls": 8000}}
"""Settings of algorithms that take one optimizer step per iteration, or play branches."""
TREE = {"tree": {"group_size": 4, "branches": 1, "branch_before": [1]}}


def final_return(seed: int, algo: str, reward: str = "final", **algorithm: Any) -> float:
    """Mean return of the last five iterations."""
    settings = {**SETTINGS, **SLOWER.get(algo, {}), "algorithm": {"ent_coef": 0.01, **TREE.get(algo, {}), **algorithm}}
    calls = 5 if algo == "tree" else 3  # the branch of each episode plays the last two again
    config = bandit_config(algo=algo, seed=seed, calls_per_episode=calls, **settings)
    return sum(train(config, seed=seed, kind=DelayedBandit, reward=reward)[-5:]) / 5


@pytest.mark.parametrize(
    "algo", ["steptool", "final_dense_sum", "token_gae", "reinforce", "rloo", "grpo", "step_grpo", "gigpo", "tree"]
)
def test_a_reward_at_the_end_reaches_the_first_call(algo: str, learning_seed: int) -> None:
    assert final_return(learning_seed, algo) > LEARNT


@pytest.mark.parametrize("algo", ["steptool", "reinforce", "step_grpo"])
@pytest.mark.parametrize(("reward", "learns"), [("final", False), ("step", True)])
def test_immediate_rewards_alone_are_learnt_without_the_delayed_one(
    algo: str, reward: str, learns: bool, learning_seed: int
) -> None:
    got = final_return(learning_seed, algo, reward, gamma=0.0)
    assert got > LEARNT if learns else got < NOT_LEARNT


def test_the_released_weighting_learns_nothing_where_the_end_decides(learning_seed: int) -> None:
    assert final_return(learning_seed, "released") < NOT_LEARNT


def shuffled(config: AlgorithmConfig) -> Estimator:
    """Factory of step-grained GAE on the rewards of other episodes."""
    estimator, generator = make_estimator(replace(config, advantage="step_gae")), torch.Generator().manual_seed(0)

    def estimate(batch: Batch) -> torch.Tensor:
        order = torch.randperm(len(batch), generator=generator)
        return estimator(replace(batch, reward=batch.reward[order]))

    return estimate


def test_rewards_of_other_episodes_are_not_learnt(learning_seed: int) -> None:
    assert final_return(learning_seed, "steptool", advantage=f"{__name__}:shuffled") < NOT_LEARNT
