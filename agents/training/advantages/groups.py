"""Advantages by returns, and by comparison of the episodes of a group: REINFORCE, RLOO, GRPO, GiGPO.

Notation: b episodes, k steps (tool calls), j action tokens of an episode, without the observations between them.
`step_index` (b, j) is the step of each action token, -1 in the padding; `reward` (b, k) the reward of each step after
hindsight, zero in the padding; `step_count` (b,) the number of steps; `group` (b,) the group of episodes with the same
task. All functions return (b, k), zero in the padding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.training.advantages.gae import MIN_STD, step_mask


def returns_to_go(reward: Tensor, gamma: float = 1.0) -> Tensor:
    """`G[k] = reward[k] + gamma * G[k+1]`: (b, k)."""
    returns = torch.zeros_like(reward)
    running = reward.new_zeros(len(reward))
    for k in range(reward.shape[1] - 1, -1, -1):
        running = reward[:, k] + gamma * running
        returns[:, k] = running
    return returns


def reinforce(reward: Tensor, step_count: Tensor, *, gamma: float) -> Tensor:
    """Returns to go without a baseline: (b, k)."""
    return returns_to_go(reward, gamma) * step_mask(reward, step_count)


def rloo(reward: Tensor, step_count: Tensor, group: Tensor, part: Tensor | None = None) -> Tensor:
    """Return of the episode minus the mean return of the other episodes of its group (leave-one-out): (b, k).

    An episode without others in its group gets 0. For `part` see `_episodes`.
    """
    first, episode = _episodes(group, part)
    centred, _, count = _centre_within(reward.sum(1)[first], group[first])
    apart = centred * count / (count - 1).clamp(min=1)  # from the mean of the others, as `centred` is from that of all
    return apart.to(reward.dtype)[episode][:, None] * step_mask(reward, step_count)


def grpo(reward: Tensor, step_count: Tensor, group: Tensor, part: Tensor | None = None) -> Tensor:
    """Return of the episode, normalised within its group (Shao et al. 2024): (b, k). For `part` see `_episodes`."""
    first, episode = _episodes(group, part)
    return _normalize_within(reward.sum(1)[first], group[first])[episode][:, None] * step_mask(reward, step_count)


def step_grpo(reward: Tensor, step_count: Tensor, group: Tensor, part: Tensor | None = None, *, gamma: float) -> Tensor:
    """Returns to go, normalised over all steps of a group: (b, k).

    A baseline per step index would be biased: only some episodes reach step 5, and a baseline of these alone rewards
    the choice to continue. An episode without others in its group gets 0. For `part` see `_episodes`; each step is in
    one sequence.
    """
    mask = step_mask(reward, step_count)
    first, _ = _episodes(group, part)
    single = (group[:, None] == group[first][None, :]).sum(1) == 1
    flat = _normalize_within(returns_to_go(reward, gamma)[mask], group[:, None].expand_as(reward)[mask])
    return torch.zeros_like(reward).masked_scatter(mask, flat) * ~single[:, None]


def gigpo(
    reward: Tensor,
    step_count: Tensor,
    group: Tensor,
    state_hashes: Sequence[Sequence[str]],
    part: Tensor | None = None,
    *,
    gamma: float,
) -> Tensor:
    """`A_episode + A_step` (GiGPO, Feng et al. 2025): (b, k).

    `A_step` is the return to go, normalised over the steps of equal group and state hash; it is 0 in a state that was
    visited once.
    """
    names: dict[tuple[int, str], int] = {}
    labels = torch.full(reward.shape, -1, dtype=torch.long)
    for row, (g, states) in enumerate(zip(group.tolist(), state_hashes, strict=True)):
        for k, state in enumerate(states):
            labels[row, k] = names.setdefault((g, state), len(names))
    mask = step_mask(reward, step_count)
    flat = _normalize_within(returns_to_go(reward, gamma)[mask], labels.to(reward.device)[mask])
    return grpo(reward, step_count, group, part) + torch.zeros_like(reward).masked_scatter(mask, flat)


def _episodes(group: Tensor, part: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which rows are the first sequence of an episode (b,), and the number of each row's episode (b,).

    An episode whose agent rewrote its history has several sequences, `part` 0, 1, ... (b,), one below the other. Its
    return is that of the first one, and it counts once in its group.
    """
    first = torch.ones_like(group, dtype=torch.bool) if part is None else part == 0
    return first, first.cumsum(0) - 1


def _normalize_within(values: Tensor, label: Tensor) -> Tensor:
    """Values (n,) with mean 0 and deviation 1 within each label; 0 where all are equal."""
    centred, deviation, _ = _centre_within(values, label)
    return (centred / deviation.clamp(min=MIN_STD)).to(values.dtype)


def _centre_within(values: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values (n,) minus the mean of their label, the deviation and the number of values there, in double precision.

    The difference is 0 where all values of a label are equal up to rounding. In single precision their mean may be
    another number.
    """
    _, index = torch.unique(label, return_inverse=True)
    exact = values.double()
    zeros = exact.new_zeros(int(index.max()) + 1)
    count = zeros.scatter_add(0, index, torch.ones_like(exact))
    centred = exact - (zeros.scatter_add(0, index, exact) / count)[index]
    deviation = (zeros.scatter_add(0, index, centred**2) / count).sqrt()
    least = MIN_STD * zeros.scatter_reduce(0, index, exact.abs(), "amax").clamp(min=1)
    equal = (deviation <= least)[index]  # not where it is NaN, which the loss reports
    return torch.where(equal, 0.0, centred), deviation[index], count[index]
