"""Advantages of PPO: generalised advantage estimation (GAE) over steps, and normalisation.

Notation: b episodes, k steps (tool calls), j action tokens of an episode, without the observations between them.
`step_index` (b, j) is the step of each action token, -1 in the padding; `reward` (b, k) the reward of each step after
hindsight, zero in the padding; `step_count` (b,) the number of steps; `value` (b, j) the value of the state before each
action token. Functions of tokens return (b, j), of steps (b, k), zero in the padding.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from agents.training.batch import Batch
from agents.training.config import GROUP_ESTIMATORS, AlgorithmConfig

Estimator = Callable[[Batch], Tensor]
"""Function from a batch, with its values where the policy has a critic, to advantages (b, j), not normalised."""

MIN_STD = 1e-6
"""Standard deviation, as a share of the largest absolute value or of 1 (whichever is more), up to which differences are
rounding errors, which must not be scaled to deviation 1."""


def compute_advantages(batch: Batch, estimator: Estimator, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Advantages and returns, the targets of the critic: both (b, j).

    The advantages are normalised over the steps of the batch, except those of estimators that compare the episodes of a
    group.
    """
    advantage = estimator(batch)
    returns = advantage + batch.value
    if config.advantage not in GROUP_ESTIMATORS:
        advantage = normalize(advantage, batch.step_index, batch.step_count)
    return advantage, returns


def step_gae(
    reward: Tensor,
    value: Tensor,
    step_index: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
    gae_lambda_token: float = 1.0,
    final_value: Tensor | None = None,
) -> Tensor:
    """Step-grained generalised advantage estimation (GAE) over action tokens only.

    Inside a step the discount is 1 and the weight of the next advantage `gae_lambda_token`. At the end of a step they
    are `gamma` and `gamma * gae_lambda`, and the next value is that before the first token of the next action. So the
    length of an action or of an observation does not discount the credit. One-token steps give the textbook estimator
    (Schulman et al. 2016); `gae_lambda = gae_lambda_token = 1` gives `G_k - V_j`.

    Args:
        reward: Rewards (b, k).
        value: Values (b, j).
        step_index: Steps (b, j).
        gamma: Discount per step.
        gae_lambda: GAE's lambda per step.
        gae_lambda_token: GAE's lambda per token inside a step.
        final_value: Value of the state after the last step (b,); by default zero, as at terminal states.
    """
    same_step, next_step, _ = (mask.to(value.dtype) for mask in _next_token_masks(step_index))
    discount = same_step + gamma * next_step
    decay = gae_lambda_token * same_step + gamma * gae_lambda * next_step
    return _gae(_at_last_tokens(reward, step_index), value, step_index, discount, decay, gamma, final_value)


def _gae(
    reward: Tensor,
    value: Tensor,
    step_index: Tensor,
    discount: Tensor,
    decay: Tensor,
    gamma: float,
    final_value: Tensor | None = None,
) -> Tensor:
    """`A[j] = reward[j] + discount[j] * V[j+1] - V[j] + decay[j] * A[j+1]`, from the last token to the first.

    `reward`, `discount` and `decay` are (b, j); `gamma` discounts `final_value`, the value after the last token.
    """
    *_, is_last = _next_token_masks(step_index)
    last_value = value.new_zeros(len(value)) if final_value is None else final_value
    next_value = torch.cat([value[:, 1:], value.new_zeros(len(value), 1)], dim=1)
    delta = (reward + discount * next_value + gamma * last_value[:, None] * is_last - value) * (step_index >= 0)
    advantage, running = torch.zeros_like(value), torch.zeros_like(last_value)
    for j in range(value.shape[1] - 1, -1, -1):
        running = delta[:, j] + decay[:, j] * running
        advantage[:, j] = running
    return advantage


def normalize(advantage: Tensor, step_index: Tensor, step_count: Tensor) -> Tensor:
    """Shift and scale advantages (b, j) so that their means per step have mean 0 and standard deviation 1.

    All are 0 where the means per step are equal.
    """
    exact = advantage.double()  # in single precision the mean of equal numbers may be another number
    by_step = mean_per_step(exact, step_index, int(step_count.max()))
    flat = by_step[step_mask(by_step, step_count)]
    deviation, least = flat.std(correction=0), MIN_STD * flat.abs().amax().clamp(min=1)
    scaled = (exact - flat.mean()) / deviation.clamp(min=MIN_STD)
    return (torch.where(deviation <= least, 0.0, scaled) * (step_index >= 0)).to(advantage.dtype)


def terminal_sum(reward: Tensor, step_count: Tensor) -> Tensor:
    """Sum of each episode's rewards at its last step, 0 before: (b, k)."""
    moved = torch.zeros_like(reward)
    return moved.scatter(1, (step_count - 1)[:, None], reward.sum(1, keepdim=True))


def broadcast_to_tokens(step_values: Tensor, step_index: Tensor) -> Tensor:
    """Value of its step for each action token: (b, k), (b, j) -> (b, j)."""
    return step_values.gather(1, step_index.clamp(min=0)) * (step_index >= 0)


def mean_per_step(token_values: Tensor, step_index: Tensor, k: int) -> Tensor:
    """Mean over the tokens of each step: (b, j), (b, j) -> (b, k)."""
    mask, index, zeros = (
        (step_index >= 0).to(token_values.dtype),
        step_index.clamp(min=0),
        token_values.new_zeros(len(step_index), k),
    )
    total = zeros.scatter_add(1, index, token_values * mask)
    return total / zeros.scatter_add(1, index, mask).clamp(min=1)


def step_mask(reward: Tensor, step_count: Tensor) -> Tensor:
    """True at steps that exist, False in the padding (b, k)."""
    return torch.arange(reward.shape[1], device=reward.device) < step_count[:, None]


def released_gae(
    score: Tensor, value: Tensor, step_index: Tensor, observation_tokens: Tensor, *, gamma: float, gae_lambda: float
) -> Tensor:
    """Advantages as StepTool's released code computes them (TRL 0.10.1 with step scores); for control runs only.

    The score of step k of K is added to the last token of the step times `K - 1 - k`, so the weight of the final step,
    which decides whether the task is solved, is 0. The estimator runs through the observation tokens, with values
    masked to 0, so g observation tokens discount the credit by `(gamma * gae_lambda)^g`.

    Args:
        score: Rewards (b, k).
        value: Values (b, j).
        step_index: Steps (b, j).
        observation_tokens: Number of observation tokens between each action token and the next (b, j).
        gamma: Discount per token.
        gae_lambda: GAE's lambda per token.
    """
    *_, is_last = _next_token_masks(step_index)
    weight = (step_index.amax(1, keepdim=True) - torch.arange(score.shape[1], device=score.device)).clamp(min=0)
    discount = (gamma * gae_lambda) ** observation_tokens.to(value.dtype) * ((step_index >= 0) & ~is_last)
    reward = _at_last_tokens(score * weight, step_index)
    return _gae(reward, value, step_index, gamma * discount, gamma * gae_lambda * discount, gamma)


def _at_last_tokens(reward: Tensor, step_index: Tensor) -> Tensor:
    """Reward of each step at its last token: (b, k) -> (b, j)."""
    same_step, *_ = _next_token_masks(step_index)
    return broadcast_to_tokens(reward, step_index) * ~same_step


def _next_token_masks(step_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three masks (b, j): the next action token is in the same step, in the next step, or does not exist."""
    following = torch.cat([step_index[:, 1:], step_index.new_full((len(step_index), 1), -1)], dim=1)
    mask = step_index >= 0
    return mask & (following == step_index), mask & (following > step_index), mask & (following < 0)
