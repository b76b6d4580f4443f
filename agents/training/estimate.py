"""From a batch and the critic's values to advantages of action tokens: the choice that an algorithm makes."""

from __future__ import annotations

from torch import Tensor

from agents.training import advantages
from agents.training.batch import Batch
from agents.training.presets import AlgorithmConfig


def credited(batch: Batch, config: AlgorithmConfig) -> Tensor:
    """The rewards as the algorithm is given them (b, k)."""
    return advantages.end_sum(batch.reward, batch.steps) if config.credit == "end_sum" else batch.reward


def estimate(
    batch: Batch,
    value: Tensor,
    config: AlgorithmConfig,
    final_value: Tensor | None = None,
    step_advantage: Tensor | None = None,
) -> Tensor:
    """Advantages of every action token (b, j), not yet whitened.

    Args:
        batch: Episodes, rewards, groups.
        value: The critic's (b, j); estimators without a critic ignore it.
        config: Names the estimator.
        final_value: See `advantages.step_gae`.
        step_advantage: What the step critic says of each step (b, k), for `step_critic`.
    """
    reward, step, steps = credited(batch, config), batch.step, batch.steps
    gamma = config.gamma
    match config.advantage:
        case "step_gae":
            return advantages.step_gae(
                reward, value, step, gamma=gamma, lam=config.lam, lam_token=config.lam_token, final_value=final_value
            )
        case "released":
            return advantages.released(reward, value, step, batch.gap, gamma=gamma, lam=config.lam)
        case "reinforce":
            by_step = advantages.reinforce(reward, steps, gamma=gamma)
        case "rloo":
            by_step = advantages.rloo(reward, steps, batch.group)
        case "grpo":
            by_step = advantages.grpo(reward, steps, batch.group)
        case "step_grpo":
            by_step = advantages.step_grpo(reward, steps, batch.group, gamma=gamma)
        case "gigpo":
            by_step = advantages.gigpo(reward, steps, batch.group, batch.state_hashes, gamma=gamma, omega=config.omega)
        case "step_critic":
            if step_advantage is None:
                raise ValueError("the advantage step_critic needs what a step critic says")
            by_step = step_advantage
    return advantages.per_token(by_step, step)
