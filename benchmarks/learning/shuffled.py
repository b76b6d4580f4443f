"""Control of the learning experiment: a reward that says nothing about the episode that receives it."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.training.advantages import Estimator, step_gae
from agents.training.batch import Batch
from agents.training.config import AlgorithmConfig


def shuffled_rewards(config: AlgorithmConfig) -> Estimator:
    """Return step-grained GAE on rewards that are dealt to random episodes of the batch.

    Each episode gets the sum of another one's rewards at its last step, so the distribution of returns stays, and
    neither the number nor the choice of calls changes their expectation. The permutation depends on the batch alone.
    """

    def estimate(batch: Batch) -> Tensor:
        generator = torch.Generator().manual_seed(int(batch.ids.sum()))
        order = torch.randperm(len(batch), generator=generator).to(batch.reward.device)
        reward = torch.zeros_like(batch.reward)
        reward.scatter_(1, (batch.steps - 1)[:, None], batch.reward.sum(1, keepdim=True)[order])
        lambdas = {"gae_lambda": config.gae_lambda, "gae_lambda_token": config.gae_lambda_token}
        return step_gae(reward, batch.value, batch.step, gamma=config.gamma, final_value=batch.final_value, **lambdas)

    return estimate
