"""What the policy in training says of a batch: log-probabilities, entropies and values of its action tokens."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from agents.distributed.processes import SINGLE_PROCESS, Processes
from agents.models.policy import Policy
from agents.training.batch import Batch, micro_rows


class Scores(NamedTuple):
    """All (b, j), zero in the padding."""

    log_prob: Tensor
    entropy: Tensor
    value: Tensor


def score(policy: Policy, batch: Batch, temperature: float = 1.0, *, entropy_gradient: bool = False) -> Scores:
    """Score the action tokens of a batch, with gradients; that of the entropy, which costs memory, only when asked for.

    Only the positions that score an action token reach the output layer.
    """
    rows, places = batch.mask.nonzero(as_tuple=True)
    columns, targets = batch.column[rows, places], batch.target[rows, places]
    attention = batch.attention if batch.left_padded else None
    hidden = policy.hidden(batch.ids, attention)
    log_prob, entropy = policy.log_probs(hidden[rows, columns], targets, temperature, entropy_gradient=entropy_gradient)
    value = policy.values(hidden, batch.ids, attention, rows, columns)

    def spread(flat: Tensor) -> Tensor:
        return flat.new_zeros(batch.step.shape).index_put((rows, places), flat)

    return Scores(spread(log_prob), spread(entropy), spread(value.to(log_prob.dtype)))


@torch.no_grad()
def value_all(policy: Policy, batch: Batch, max_tokens: int, processes: Processes = SINGLE_PROCESS) -> Tensor:
    """The values of `score_all` (b, j) alone: no token is scored, and a critic apart needs no policy."""
    values = torch.zeros_like(batch.old_log_prob)
    for index, counts in micro_rows(batch, torch.arange(len(batch), device=batch.ids.device), max_tokens, processes):
        piece = policy(partial(critic_values, policy, batch.rows(index)))
        if counts:
            values[index, : piece.shape[1]] = piece.to(values.dtype)
    processes.sum([values])
    return values


def critic_values(policy: Policy, part: Batch) -> Tensor:
    """Values of action tokens (b, j), zero in the padding. Their gradient reaches the critic alone."""
    rows, places = part.mask.nonzero(as_tuple=True)
    attention = part.attention if part.left_padded else None
    hidden = None
    if policy.value_head is not None and policy.critic is None:
        with torch.no_grad():
            hidden = policy.hidden(part.ids, attention)
    flat = policy.values(hidden, part.ids, attention, rows, part.column[rows, places])
    return flat.new_zeros(part.step.shape).index_put((rows, places), flat)


@torch.no_grad()
def final_values(policy: Policy, batch: Batch, max_tokens: int, processes: Processes = SINGLE_PROCESS) -> Tensor:
    """Value of the state behind the last step (b,): the critic's at the last token, 0 for terminated episodes."""
    values = batch.old_log_prob.new_zeros(len(batch))
    for index, counts in micro_rows(batch, batch.truncated.nonzero().squeeze(1), max_tokens, processes):
        found = policy(partial(_last_values, policy, batch.rows(index)))
        if counts:
            values[index] = found.to(values.dtype)
    processes.sum([values])
    return values


def _last_values(policy: Policy, part: Batch) -> Tensor:
    every = torch.arange(len(part), device=part.ids.device)
    last = torch.arange(part.ids.shape[1], device=part.ids.device).mul(part.attention).amax(1)
    attention = part.attention if part.left_padded else None
    return policy.values(None, part.ids, attention, every, last)


@torch.no_grad()
def score_all(
    policy: Policy, batch: Batch, max_tokens: int, temperature: float = 1.0, processes: Processes = SINGLE_PROCESS
) -> Scores:
    """Score a whole batch without gradients, `max_tokens` padded tokens at a time, each process its rows of it."""
    whole = [torch.zeros_like(batch.old_log_prob) for _ in Scores._fields]
    for index, counts in micro_rows(batch, torch.arange(len(batch), device=batch.ids.device), max_tokens, processes):
        part = batch.rows(index)
        pieces = policy(partial(score, policy, part, temperature))
        for target, piece in zip(whole, pieces, strict=True) if counts else ():
            target[index, : piece.shape[1]] = piece.to(target.dtype)
    processes.sum(whole)
    return Scores(*whole)
