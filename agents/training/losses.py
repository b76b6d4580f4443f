"""Losses of action tokens, as pure functions. Each returns one number per token (b, j), zero in the padding.

The sum over a mini-batch divided by its number of action tokens is the loss that is minimised; so how a
mini-batch is cut into micro-batches changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agents.training.advantages import per_step, per_token


def policy_gradient(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """`-A * log p`: REINFORCE and A2C. Its gradient is unbiased for samples of the current policy only."""
    return -advantage * log_prob


def clipped(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float, step: Tensor | None = None
) -> Tensor:
    """PPO's clipped surrogate (Schulman et al. 2017).

    Args:
        log_prob: Under the policy that is trained (b, j).
        old_log_prob: Under the policy that sampled (b, j).
        advantage: (b, j).
        clip: How far the ratio may move from 1.
        step: (b, j); when given, all tokens of a step share one ratio, the geometric mean of theirs.
    """
    ratio = log_ratio(log_prob, old_log_prob, step).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def log_ratio(log_prob: Tensor, old_log_prob: Tensor, step: Tensor | None = None) -> Tensor:
    """Log of the probability ratio (b, j): per token, or its mean over each step when `step` is given."""
    difference = log_prob - old_log_prob
    if step is None:
        return difference
    return per_token(per_step(difference, step, int(step.max()) + 1), step)


def squared_error(value: Tensor, target: Tensor) -> Tensor:
    """Half the squared error of the critic."""
    return 0.5 * (value - target) ** 2


def expectile(value: Tensor, target: Tensor, share: float) -> Tensor:
    """Squared error that weighs targets above the value by `share` and those below by `1 - share`.

    Its minimiser is the targets' expectile (Kostrikov et al. 2022): at 0.5 their mean, where it is `squared_error`;
    towards 1 their largest.
    """
    difference = target - value
    below = (difference < 0).to(value.dtype)
    return (share - below).abs() * difference**2


def kl_k3(log_prob: Tensor, reference: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy | reference): unbiased in value, never negative."""
    difference = reference - log_prob
    return difference.exp() - difference - 1


def preference(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """DPO (Rafailov et al. 2023) of pairs (n,).

    Args:
        chosen: `log p - log reference` of the better episode, summed over its action tokens (n,).
        rejected: The same of the worse one (n,).
        beta: How far the policy may leave the reference; small is far.
    """
    return -functional.logsigmoid(beta * (chosen - rejected))
