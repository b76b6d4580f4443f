"""Turns of a conversation in the token tensors of trainers of other projects.

Notation: b rollouts, t tokens, k turns.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def turns(mask: Tensor) -> Tensor:
    """Return the turn of each token that the model wrote (b, t), -1 elsewhere, from the mask of these tokens (b, t)."""
    mask = mask.bool()
    begins = mask & ~torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1)
    return torch.where(mask, begins.cumsum(1) - 1, -1)


def rewards_of_turns(rewards: Sequence[float], made: Sequence[int]) -> list[float]:
    """Return the reward of each turn: the sum over its calls.

    Args:
        rewards: Final reward of each call.
        made: Number of calls made before each turn, and after the last.
    """
    return [sum(rewards[begin:end]) for begin, end in pairwise(made)]
