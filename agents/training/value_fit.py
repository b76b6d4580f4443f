"""Fitting a critic that reads the policy's hidden states without gradient: they are made once, so passes are cheap."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from agents.models.policy import Policy
from agents.training.batch import Batch, micro_rows, mini_batches
from agents.training.optimizer import Updater

_TOKENS = 512  # of a mini-batch


def fit_values(updater: Updater, batch: Batch, target: Tensor, epochs: int, random: torch.Generator) -> None:
    """Move the value head towards its targets.

    Args:
        updater: Of a policy whose value trunk is `detached`.
        batch: Episodes of an iteration.
        target: What the values of its action tokens should be (b, j).
        epochs: Passes over the action tokens.
        random: Shuffles them.
    """
    tokens = updater.config.tokens_on(batch.ids.device)
    hidden, targets = hidden_states(updater.policy, batch, tokens), target[batch.mask]
    for _ in range(epochs):
        for picked in mini_batches(len(targets), math.ceil(len(targets) / _TOKENS), random):
            index = picked.to(targets.device)
            updater.step_values(hidden[index], targets[index])


@torch.no_grad()
def hidden_states(policy: Policy, batch: Batch, max_tokens: int) -> Tensor:
    """Hidden states (m, h) before the m action tokens of a batch, in the order of `batch.mask`."""
    found = torch.zeros(*batch.step.shape, policy.width, dtype=policy.dtype, device=policy.device)
    for index, _ in micro_rows(batch, torch.arange(len(batch), device=batch.ids.device), max_tokens):
        part = batch.rows(index)
        found[index, : part.step.shape[1]] = policy(partial(_before_actions, policy, part))
    return found[batch.mask]


def _before_actions(policy: Policy, part: Batch) -> Tensor:
    hidden = policy.hidden(part.ids, part.attention if part.left_padded else None)
    return hidden.gather(1, part.column[..., None].expand(-1, -1, hidden.shape[-1]))
