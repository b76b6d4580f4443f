"""Policy gradients of many advantages of the same episodes, as vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.models.policy import Policy
from agents.training.batch import Batch, micro_batches
from agents.training.forward import forward


def policy_gradients(policy: Policy, batch: Batch, advantages: Tensor, max_tokens: int) -> Tensor:
    """Return `sum over action tokens of advantage * gradient of log-probability`, one row per set of advantages.

    Args:
        policy: Policy with p parameters of its language model.
        batch: Episodes.
        advantages: Sets of advantages (e, b, j).
        max_tokens: Maximum number of padded tokens of a forward pass.

    Returns:
        Gradients (e, p).
    """
    parameters = [p for p in policy.language_model.parameters() if p.requires_grad]
    total = torch.zeros(len(advantages), sum(p.numel() for p in parameters))
    for rows, micro in micro_batches(batch, max_tokens):
        log_prob = forward(policy, micro, ("log_prob",))["log_prob"]
        for index, advantage in enumerate(advantages[:, rows, : log_prob.shape[1]]):
            gradient = torch.autograd.grad(log_prob, parameters, advantage, retain_graph=index + 1 < len(advantages))
            total[index] += torch.cat([part.flatten() for part in gradient])
    return total


def cosine(one: Tensor, other: Tensor) -> float:
    """Return the cosine between two vectors (p,); 0 where one of them is zero."""
    scale = float(one.norm() * other.norm())
    return float(one @ other) / scale if scale else 0.0
