"""Advantage estimators: pure functions of rewards and values.

Notation: b episodes, k steps (tool calls), j action tokens of an episode, without the observations between them. `step`
(b, j) is the step of each action token, -1 in the padding; `reward` (b, k) the final reward of each step, zero in the
padding; `steps` (b,) the number of steps; `value` (b, j) the value of the state before each action token; `group` (b,)
the group of episodes with the same task. Functions of tokens return (b, j), of steps (b, k), zero in the padding.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from agents.training.batch import Batch
from agents.training.config import ESTIMATORS, GROUP_ESTIMATORS, AlgorithmConfig

Estimator = Callable[[Batch], Tensor]
"""Function from a batch, with its values where the policy has a critic, to advantages (b, j), not normalised."""

Lineage = tuple[int, ...]
"""Place of an episode in the tree of its group: `(t,)` for episode t, `(*row, f, n)` for branch n that leaves the row
`row` before call f. Calls are numbered from the start of the task, also those of a branch."""

_EPSILON = 1e-8
_MIN_STD = 1e-6  # smaller differences of returns are rounding errors, which must not be scaled to deviation 1


def make_estimator(config: AlgorithmConfig) -> Estimator:
    """Make the estimator `config.advantage`: a built-in name, or `module:factory` that takes the config.

    Raises:
        ConfigurationError: There is no such estimator.
    """
    estimator: Estimator = ESTIMATORS.make(config.advantage, config)
    return estimator


def built_in(config: AlgorithmConfig) -> Estimator:
    """Factory of the built-in estimators; `step_critic` returns the advantages that ArCHer has filled in."""

    def estimate(batch: Batch) -> Tensor:
        reward, gamma = batch.reward, config.gamma
        match config.advantage:
            case "step_gae" | "token_gae":
                return step_gae(
                    reward,
                    batch.value,
                    batch.step,
                    gamma=gamma,
                    gae_lambda=config.gae_lambda,
                    gae_lambda_token=1.0 if config.advantage == "step_gae" else config.gae_lambda,
                    final_value=batch.final_value,
                )
            case "released":
                return released(
                    reward, batch.value, batch.step, batch.observation_tokens, gamma=gamma, gae_lambda=config.gae_lambda
                )
            case "step_critic":
                return batch.advantage  # filled by ArCHer
        return broadcast_to_tokens(_of_returns(batch, config), batch.step)

    return estimate


def _of_returns(batch: Batch, config: AlgorithmConfig) -> Tensor:
    """Advantages (b, k) of the built-in estimators that read no values."""
    reward, steps, group, gamma = batch.reward, batch.steps, batch.group, config.gamma
    match config.advantage:
        case "rloo":
            return rloo(reward, steps, group, batch.part)
        case "grpo":
            return grpo(reward, steps, group, batch.part)
        case "step_grpo":
            return step_grpo(reward, steps, group, batch.part, gamma=gamma)
        case "gigpo":
            return gigpo(reward, steps, group, batch.state_hashes, batch.part, gamma=gamma)
        case "tree":
            return tree(reward, steps, group, batch.lineage)
    return reinforce(reward, steps, gamma=gamma)


def compute_advantages(batch: Batch, estimator: Estimator, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Advantages and returns, the targets of the critic: both (b, j).

    The advantages are normalised over the steps of the batch, except those of estimators that compare the episodes of a
    group.
    """
    advantage = estimator(batch)
    returns = advantage + batch.value
    if config.advantage not in GROUP_ESTIMATORS:
        advantage = normalize(advantage, batch.step, batch.steps)
    return advantage, returns


def step_gae(
    reward: Tensor,
    value: Tensor,
    step: Tensor,
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
        step: Steps (b, j).
        gamma: Discount per step.
        gae_lambda: GAE's lambda per step.
        gae_lambda_token: GAE's lambda per token inside a step.
        final_value: Value of the state after the last step (b,); by default zero, as at terminal states.
    """
    same_step, next_step, _ = (mask.to(value.dtype) for mask in _next_token_masks(step))
    discount = same_step + gamma * next_step
    decay = gae_lambda_token * same_step + gamma * gae_lambda * next_step
    return _gae(_at_last_tokens(reward, step), value, step, discount, decay, gamma, final_value)


def released(
    score: Tensor, value: Tensor, step: Tensor, observation_tokens: Tensor, *, gamma: float, gae_lambda: float
) -> Tensor:
    """Advantages as StepTool's released code computes them (TRL 0.10.1 with step scores); for control runs only.

    The score of step k of K is added to the last token of the step times `K - 1 - k`, so the weight of the final step,
    which decides whether the task is solved, is 0. The estimator runs through the observation tokens, with values
    masked to 0, so g observation tokens discount the credit by `(gamma * gae_lambda)^g`.

    Args:
        score: Rewards (b, k).
        value: Values (b, j).
        step: Steps (b, j).
        observation_tokens: Number of observation tokens between each action token and the next (b, j).
        gamma: Discount per token.
        gae_lambda: GAE's lambda per token.
    """
    *_, is_last = _next_token_masks(step)
    weight = (step.amax(1, keepdim=True) - torch.arange(score.shape[1], device=score.device)).clamp(min=0)
    discount = (gamma * gae_lambda) ** observation_tokens.to(value.dtype) * ((step >= 0) & ~is_last)
    reward = _at_last_tokens(score * weight, step)
    return _gae(reward, value, step, gamma * discount, gamma * gae_lambda * discount, gamma)


def returns_to_go(reward: Tensor, gamma: float = 1.0) -> Tensor:
    """`G[k] = reward[k] + gamma * G[k+1]`: (b, k)."""
    returns = torch.zeros_like(reward)
    running = reward.new_zeros(len(reward))
    for k in range(reward.shape[1] - 1, -1, -1):
        running = reward[:, k] + gamma * running
        returns[:, k] = running
    return returns


def reinforce(reward: Tensor, steps: Tensor, *, gamma: float) -> Tensor:
    """Returns to go without a baseline: (b, k)."""
    return returns_to_go(reward, gamma) * _step_mask(reward, steps)


def rloo(reward: Tensor, steps: Tensor, group: Tensor, part: Tensor | None = None) -> Tensor:
    """Return of the episode minus the mean return of the other episodes of its group (leave-one-out): (b, k).

    An episode without others in its group gets 0. For `part` see `_episodes`.
    """
    first, episode = _episodes(group, part)
    total, of = reward.sum(1)[first], group[first]
    same = (of[:, None] == of[None, :]).to(reward.dtype)
    others = same.sum(1) - 1
    baseline = (same @ total - total) / others.clamp(min=1)
    return ((total - baseline) * (others > 0))[episode][:, None] * _step_mask(reward, steps)


def grpo(reward: Tensor, steps: Tensor, group: Tensor, part: Tensor | None = None) -> Tensor:
    """Return of the episode, normalised within its group (Shao et al. 2024): (b, k). For `part` see `_episodes`."""
    first, episode = _episodes(group, part)
    return _normalize_within(reward.sum(1)[first], group[first])[episode][:, None] * _step_mask(reward, steps)


def _episodes(group: Tensor, part: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which rows are the first sequence of an episode (b,), and the number of each row's episode (b,).

    An episode whose agent rewrote its history has several sequences, `part` 0, 1, ... (b,), one below the other. Its
    return is that of the first one, and it counts once in its group.
    """
    first = torch.ones_like(group, dtype=torch.bool) if part is None else part == 0
    return first, first.cumsum(0) - 1


def step_grpo(reward: Tensor, steps: Tensor, group: Tensor, part: Tensor | None = None, *, gamma: float) -> Tensor:
    """Returns to go, normalised over all steps of a group: (b, k).

    A baseline per step index would be biased: only some episodes reach step 5, and a baseline of these alone rewards
    the choice to continue. An episode without others in its group gets 0. For `part` see `_episodes`; each step is in
    one sequence.
    """
    mask = _step_mask(reward, steps)
    first, _ = _episodes(group, part)
    single = (group[:, None] == group[first][None, :]).sum(1) == 1
    flat = _normalize_within(returns_to_go(reward, gamma)[mask], group[:, None].expand_as(reward)[mask])
    return torch.zeros_like(reward).masked_scatter(mask, flat) * ~single[:, None]


def gigpo(
    reward: Tensor,
    steps: Tensor,
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
    mask = _step_mask(reward, steps)
    flat = _normalize_within(returns_to_go(reward, gamma)[mask], labels.to(reward.device)[mask])
    return grpo(reward, steps, group, part) + torch.zeros_like(reward).masked_scatter(mask, flat)


def tree(reward: Tensor, steps: Tensor, group: Tensor, lineage: Sequence[Lineage]) -> Tensor:
    """Value of a call minus the mean value of its siblings, in trees of episodes: (b, k).

    The value of a call is its reward plus the mean value of the calls that follow in its row and in the branches there.
    Siblings are the other calls from the same state: the first calls of a group's episodes, and those of a branch, of
    the row that it leaves and of its other branches there. A call without siblings continues the last call that has
    some: its advantage is the return since there plus its value, minus the value of these siblings. Without any, it is
    0.

    At a state with siblings the expectation is `Q(s, a) - V(s)`. Means are taken state by state, because a mean over
    all episodes through a call would count long episodes, which have more branches, too often. Related: VinePPO (arXiv
    2410.01679), whose continuations give values only; Tree-GRPO (2509.21240); PORTool (2510.26020).

    Args:
        reward: Rewards (b, k) of the calls of each row, for a branch from its first call on.
        steps: Number of these calls (b,).
        group: Groups (b,).
        lineage: Place of each row in the tree of its group.
    """
    groups, counts, first = group.tolist(), steps.tolist(), [place[-2] if len(place) > 1 else 0 for place in lineage]
    rows = {(g, place): row for row, (g, place) in enumerate(zip(groups, lineage, strict=True))}
    leaving: dict[tuple[int, Lineage], list[int]] = {}  # rows that begin in a state, by the state
    for row, (g, place) in enumerate(zip(groups, lineage, strict=True)):
        leaving.setdefault((g, place[:-1]), []).append(row)
    value: dict[tuple[int, int], float] = {}  # by row and call
    for row in sorted(
        range(len(counts)), key=lambda row: -len(lineage[row])
    ):  # branches before the row that they leave
        following: list[float] = []
        for call in range(first[row] + counts[row] - 1, first[row] - 1, -1):
            value[row, call] = float(reward[row, call - first[row]]) + sum(following) / max(1, len(following))
            branches = leaving.get((groups[row], (*lineage[row], call)), [])
            following = [value[row, call], *(value[branch, call] for branch in branches)]
    advantage, returns = torch.zeros_like(reward), returns_to_go(reward).tolist()
    for row, (g, place) in enumerate(zip(groups, lineage, strict=True)):
        baseline, since = None, 0
        for k in range(counts[row]):
            call = first[row] + k
            same = leaving.get((g, (*place, call)) if k else (g, place[:-1]), [])
            left = rows.get((g, place[:-2])) if not k and len(place) > 1 else None
            siblings = [value[each, call] for each in (*same, left) if each is not None and each != row]
            if siblings:
                baseline, since = sum(siblings) / len(siblings), k
            if baseline is not None:
                advantage[row, k] = returns[row][since] - returns[row][k] + value[row, call] - baseline
    return advantage


def terminal_sum(reward: Tensor, steps: Tensor) -> Tensor:
    """Sum of each episode's rewards at its last step, 0 before: (b, k)."""
    moved = torch.zeros_like(reward)
    return moved.scatter(1, (steps - 1)[:, None], reward.sum(1, keepdim=True))


def broadcast_to_tokens(step_values: Tensor, step: Tensor) -> Tensor:
    """Value of its step for each action token: (b, k), (b, j) -> (b, j)."""
    return step_values.gather(1, step.clamp(min=0)) * (step >= 0)


def mean_per_step(token_values: Tensor, step: Tensor, k: int) -> Tensor:
    """Mean over the tokens of each step: (b, j), (b, j) -> (b, k)."""
    mask, index, zeros = (step >= 0).to(token_values.dtype), step.clamp(min=0), token_values.new_zeros(len(step), k)
    total = zeros.scatter_add(1, index, token_values * mask)
    return total / zeros.scatter_add(1, index, mask).clamp(min=1)


def normalize(advantage: Tensor, step: Tensor, steps: Tensor) -> Tensor:
    """Shift and scale advantages (b, j) so that their means per step have mean 0 and standard deviation 1."""
    by_step = mean_per_step(advantage, step, int(steps.max()))
    flat = by_step[_step_mask(by_step, steps)]
    return (advantage - flat.mean()) / (flat.std(correction=0) + _EPSILON) * (step >= 0)


def _next_token_masks(step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three masks (b, j): the next action token is in the same step, in the next step, or does not exist."""
    following = torch.cat([step[:, 1:], step.new_full((len(step), 1), -1)], dim=1)
    mask = step >= 0
    return mask & (following == step), mask & (following > step), mask & (following < 0)


def _at_last_tokens(reward: Tensor, step: Tensor) -> Tensor:
    """Reward of each step at its last token: (b, k) -> (b, j)."""
    same_step, *_ = _next_token_masks(step)
    return broadcast_to_tokens(reward, step) * ~same_step


def _gae(
    reward: Tensor,
    value: Tensor,
    step: Tensor,
    discount: Tensor,
    decay: Tensor,
    gamma: float,
    final_value: Tensor | None = None,
) -> Tensor:
    """`A[j] = reward[j] + discount[j] * V[j+1] - V[j] + decay[j] * A[j+1]`, from the last token to the first.

    `reward`, `discount` and `decay` are (b, j); `gamma` discounts `final_value`, the value after the last token.
    """
    *_, is_last = _next_token_masks(step)
    last_value = value.new_zeros(len(value)) if final_value is None else final_value
    next_value = torch.cat([value[:, 1:], value.new_zeros(len(value), 1)], dim=1)
    delta = (reward + discount * next_value + gamma * last_value[:, None] * is_last - value) * (step >= 0)
    advantage, running = torch.zeros_like(value), torch.zeros_like(last_value)
    for j in range(value.shape[1] - 1, -1, -1):
        running = delta[:, j] + decay[:, j] * running
        advantage[:, j] = running
    return advantage


def _step_mask(reward: Tensor, steps: Tensor) -> Tensor:
    """True at steps that exist, False in the padding (b, k)."""
    return torch.arange(reward.shape[1], device=reward.device) < steps[:, None]


def _normalize_within(values: Tensor, label: Tensor) -> Tensor:
    """Values (n,) with mean 0 and deviation 1 within each label; 0 where all are equal."""
    _, index = torch.unique(label, return_inverse=True)
    size = int(index.max()) + 1
    count = values.new_zeros(size).scatter_add(0, index, torch.ones_like(values))
    mean = values.new_zeros(size).scatter_add(0, index, values) / count
    centred = values - mean[index]
    deviation = (values.new_zeros(size).scatter_add(0, index, centred**2) / count).sqrt()[index]
    return torch.where(deviation > _MIN_STD, centred / deviation.clamp(min=_MIN_STD), 0.0)
