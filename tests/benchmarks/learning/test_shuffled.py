"""The control with shuffled rewards: the same returns, dealt to other episodes."""

from __future__ import annotations

import torch

from agents.rollout.types import TokenEpisode
from agents.training.batch import Batch, collate
from agents.training.config import AlgorithmConfig
from benchmarks.learning.shuffled import shuffled_rewards


def batch() -> Batch:
    """16 episodes of one or two steps, of which each has another return."""
    episodes = []
    for number in range(16):
        steps = 1 + number % 2
        spans = tuple((1 + step, 2 + step) for step in range(steps))
        episodes.append(TokenEpisode((number, *range(steps)), spans, (0.0,) * steps, (float(number), 0.0)[:steps]))
    return collate(episodes, 0)


def test_every_episode_gets_the_return_of_some_episode_at_all_of_its_steps() -> None:
    found = shuffled_rewards(AlgorithmConfig(gamma=1.0, gae_lambda=1.0))(batch())
    assert sorted(found[:, 0].tolist()) == list(range(16))
    assert found[:, 0].tolist() != list(range(16))
    two = batch().step_count == 2
    torch.testing.assert_close(found[two, 1], found[two, 0])


def test_the_same_batch_is_shuffled_equally_and_its_rewards_stay() -> None:
    some, estimator = batch(), shuffled_rewards(AlgorithmConfig())
    reward = some.reward.clone()
    torch.testing.assert_close(estimator(some), estimator(some))
    torch.testing.assert_close(some.reward, reward)
