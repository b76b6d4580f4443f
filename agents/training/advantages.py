"""Who gets the credit: advantages as pure functions of rewards and values.

Notation: b episodes, k steps (tool calls), j action tokens of an episode, packed without the observations
between them. `step` (b, j) is the step of each action token, -1 in the padding; `reward` (b, k) the final
reward of each step, zero in the padding; `steps` (b,) their number; `value` (b, j) the critic's value of the
state before each action token; `group` (b,) names the episodes that began alike.

Functions of tokens return (b, j), functions of steps (b, k), both zero in the padding; `per_token` leads
from the second to the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_EPSILON = 1e-8
_EQUAL = 1e-6  # returns that differ by less are equal up to rounding, which must not be blown up to deviation 1


def step_gae(
    reward: Tensor,
    value: Tensor,
    step: Tensor,
    *,
    gamma: float,
    lam: float,
    lam_token: float = 1.0,
    final_value: Tensor | None = None,
) -> Tensor:
    """Step-grained generalised advantage estimation over action tokens only.

    Inside a step time stands still: discount 1, trace `lam_token`. Across a step's end: discount `gamma`,
    trace `gamma * lam`, and the next value is that before the next action's first token. So neither the
    length of an action nor of an observation fades the credit. One-token steps give the textbook estimator
    (Schulman et al. 2016); `lam = lam_token = 1` gives `G_k - V_j`.

    Args:
        reward: (b, k).
        value: (b, j).
        step: (b, j).
        gamma: Discount per step.
        lam: Trace per step.
        lam_token: Trace per token inside a step.
        final_value: Value of the state after the last step (b,); zero, the default, where an episode is over.

    Returns:
        Advantages (b, j).
    """
    inside, between, _ = (link.to(value.dtype) for link in _links(step))
    discount = inside + gamma * between
    trace = lam_token * inside + gamma * lam * between
    return _recursion(_at_ends(reward, step), value, step, discount, trace, gamma, final_value)


def released(score: Tensor, value: Tensor, step: Tensor, gap: Tensor, *, gamma: float, lam: float) -> Tensor:
    """What StepTool's released code computes (TRL 0.10.1 with its step scores); for control runs only.

    The score of step k of K lands on the step's last token times `K - 1 - k`, so the final step's weight is 0
    and whether the task was solved is never trained. The estimator runs token by token through the
    observations, where values are masked to 0: over g observation tokens credit fades by `(gamma * lam)^g`.

    Args:
        score: Rewards as scored (b, k).
        value: (b, j).
        step: (b, j).
        gap: Observation tokens between this action token and the next (b, j).
        gamma: Discount per token.
        lam: Trace per token.

    Returns:
        Advantages (b, j).
    """
    inside, between, _ = (link.to(value.dtype) for link in _links(step))
    last = step.amax(1, keepdim=True)
    weight = (last - torch.arange(score.shape[1], device=score.device)).clamp(min=0)
    fading = (gamma * lam) ** gap.to(value.dtype) * (inside + between)
    return _recursion(_at_ends(score * weight, step), value, step, gamma * fading, gamma * lam * fading, gamma, None)


def returns_to_go(reward: Tensor, gamma: float = 1.0) -> Tensor:
    """`G[k] = reward[k] + gamma * G[k+1]`: (b, k)."""
    returns = torch.zeros_like(reward)
    running = reward.new_zeros(len(reward))
    for k in range(reward.shape[1] - 1, -1, -1):
        running = reward[:, k] + gamma * running
        returns[:, k] = running
    return returns


def reinforce(reward: Tensor, steps: Tensor, *, gamma: float) -> Tensor:
    """Returns to go, no baseline: (b, k)."""
    return returns_to_go(reward, gamma) * _real(reward, steps)


def rloo(reward: Tensor, steps: Tensor, group: Tensor) -> Tensor:
    """Every step gets the episode's return less the mean return of its group's other episodes: (b, k).

    An episode alone in its group gets 0 (there is nothing to compare it with).
    """
    total = reward.sum(1)
    same = (group[:, None] == group[None, :]).to(reward.dtype)
    others = same.sum(1) - 1
    baseline = (same @ total - total) / others.clamp(min=1)
    return ((total - baseline) * (others > 0))[:, None] * _real(reward, steps)


def grpo(reward: Tensor, steps: Tensor, group: Tensor) -> Tensor:
    """Every step gets the episode's return, normalised within its group (Shao et al. 2024): (b, k)."""
    return _normalised(reward.sum(1), group)[:, None] * _real(reward, steps)


def step_grpo(reward: Tensor, steps: Tensor, group: Tensor, *, gamma: float) -> Tensor:
    """Returns to go of all steps of a group, normalised together: (b, k).

    Not by step index: episodes that reach step 5 are not like those that stop at 2, and a baseline from
    them alone would reward the choice to go on. An episode alone in its group gets 0: its own steps are no measure
    of each other.
    """
    real = _real(reward, steps)
    alone = (group[:, None] == group[None, :]).sum(1) == 1
    returns = returns_to_go(reward, gamma)
    flat = _normalised(returns[real], group[:, None].expand_as(reward)[real])
    return torch.zeros_like(reward).masked_scatter(real, flat) * ~alone[:, None]


def gigpo(
    reward: Tensor,
    steps: Tensor,
    group: Tensor,
    state_hashes: Sequence[Sequence[str]],
    *,
    gamma: float,
    omega: float = 1.0,
) -> Tensor:
    """`A_episode + omega * A_step` (GiGPO, Feng et al. 2025): (b, k).

    `A_step` normalises the returns to go of steps taken in the same state, that is of equal (group, anchor);
    a state visited once gets 0. With nothing but such states GiGPO is GRPO.
    """
    names: dict[tuple[int, str], int] = {}
    labels = torch.full(reward.shape, -1, dtype=torch.long)
    for row, (g, states) in enumerate(zip(group.tolist(), state_hashes, strict=True)):
        for k, state in enumerate(states):
            labels[row, k] = names.setdefault((g, state), len(names))
    real = _real(reward, steps)
    flat = _normalised(returns_to_go(reward, gamma)[real], labels.to(reward.device)[real])
    within = torch.zeros_like(reward).masked_scatter(real, flat)
    return grpo(reward, steps, group) + omega * within


def end_sum(reward: Tensor, steps: Tensor) -> Tensor:
    """The same reward in all, given as one sum at the last step: (b, k).

    It tells what the timing of a dense reward brings from what its information brings.
    """
    moved = torch.zeros_like(reward)
    return moved.scatter(1, (steps - 1)[:, None], reward.sum(1, keepdim=True))


def per_token(step_values: Tensor, step: Tensor) -> Tensor:
    """Give each action token what its step has: (b, k), (b, j) -> (b, j)."""
    return step_values.gather(1, step.clamp(min=0)) * (step >= 0)


def per_step(token_values: Tensor, step: Tensor, k: int) -> Tensor:
    """Mean over the tokens of each step: (b, j), (b, j) -> (b, k)."""
    real = (step >= 0).to(token_values.dtype)
    index = step.clamp(min=0)
    shape = (len(step), k)
    total = token_values.new_zeros(shape).scatter_add(1, index, token_values * real)
    count = token_values.new_zeros(shape).scatter_add(1, index, real)
    return total / count.clamp(min=1)


def whiten(advantage: Tensor, step: Tensor, steps: Tensor) -> Tensor:
    """Shift and scale advantages (b, j) so that their means per step have mean 0 and deviation 1."""
    by_step = per_step(advantage, step, int(steps.max()))
    flat = by_step[_real(by_step, steps)]
    return (advantage - flat.mean()) / (flat.std(correction=0) + _EPSILON) * (step >= 0)


def _links(step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the next token is in the same step, in the next one, or there is none: three masks (b, j)."""
    following = torch.cat([step[:, 1:], step.new_full((len(step), 1), -1)], dim=1)
    real = step >= 0
    return real & (following == step), real & (following > step), real & (following < 0)


def _at_ends(reward: Tensor, step: Tensor) -> Tensor:
    """Put each step's reward on its last token: (b, k) -> (b, j)."""
    inside, _, _ = _links(step)
    return per_token(reward, step) * ~inside


def _recursion(
    reward: Tensor,
    value: Tensor,
    step: Tensor,
    discount: Tensor,
    trace: Tensor,
    gamma: float,
    final_value: Tensor | None,
) -> Tensor:
    """`A[j] = reward[j] + discount[j] * V[j+1] - V[j] + trace[j] * A[j+1]`, from the last token to the first.

    `reward`, `discount` and `trace` are (b, j); `gamma` discounts `final_value` behind the last token.
    """
    *_, end = _links(step)
    behind = value.new_zeros(len(value)) if final_value is None else final_value
    following = torch.cat([value[:, 1:], value.new_zeros(len(value), 1)], dim=1)
    delta = (reward + discount * following + gamma * behind[:, None] * end - value) * (step >= 0)
    advantage = torch.zeros_like(value)
    running = torch.zeros_like(behind)
    for j in range(value.shape[1] - 1, -1, -1):
        running = delta[:, j] + trace[:, j] * running
        advantage[:, j] = running
    return advantage


def _real(reward: Tensor, steps: Tensor) -> Tensor:
    """Steps that are no padding (b, k)."""
    return torch.arange(reward.shape[1], device=reward.device) < steps[:, None]


def _normalised(values: Tensor, label: Tensor) -> Tensor:
    """Values (n,) less the mean of their label's, over its deviation; 0 where all are equal."""
    _, index = torch.unique(label, return_inverse=True)
    size = int(index.max()) + 1
    count = values.new_zeros(size).scatter_add(0, index, torch.ones_like(values))
    mean = values.new_zeros(size).scatter_add(0, index, values) / count
    centred = values - mean[index]
    deviation = (values.new_zeros(size).scatter_add(0, index, centred**2) / count).sqrt()[index]
    return torch.where(deviation > _EQUAL, centred / deviation.clamp(min=_EQUAL), 0.0)
