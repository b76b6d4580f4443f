"""Losses of PPO, of the critic and of DPO.

`ppo_loss` and `value_loss` return sums over action tokens. `PolicyOptimizer.step` divides them by the number of action
tokens of the mini-batch, so the size of micro-batches does not change the gradient.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from agents.models.policy import Output
from agents.training.batch import Batch
from agents.training.config import AlgorithmConfig

VF_COEF = 0.5
"""Coefficient of the value loss."""


def ppo_loss(outputs: Mapping[Output, Tensor], batch: Batch, config: AlgorithmConfig) -> dict[str, Tensor]:
    """PPO's clipped surrogate, value loss, entropy bonus and divergence from the reference (Schulman et al. 2017).

    Args:
        outputs: `log_prob`, `entropy` and, with a critic, `value` of the current policy (b, j), zero in the padding.
        batch: The same episodes with `old_log_prob`, `advantage`, `returns` and `ref_log_prob`.
        config: Clip range and coefficients.

    Returns:
        Sums over the action tokens: `loss`, which is differentiated, and the metrics.
    """
    logratio = outputs["log_prob"] - batch.old_log_prob
    ratio = logratio.exp()
    with torch.no_grad():
        approx_kl = (ratio - 1) - logratio
        clipfrac = ((ratio - 1).abs() > config.clip_coef).to(ratio.dtype)

    pg_loss1 = -batch.advantage * ratio
    pg_loss2 = -batch.advantage * ratio.clamp(1 - config.clip_coef, 1 + config.clip_coef)
    pg_loss = torch.max(pg_loss1, pg_loss2)
    loss = pg_loss - config.ent_coef * outputs["entropy"]
    metrics: dict[str, Tensor] = {}
    if "value" in outputs:
        v_loss = half_squared_error(outputs["value"], batch.returns)
        loss = loss + VF_COEF * v_loss
        metrics["value_loss"] = v_loss.sum()
    if config.kl_coef:
        ref_kl = kl_k3(outputs["log_prob"], batch.ref_log_prob)
        loss = loss + config.kl_coef * ref_kl
        metrics["reference_kl"] = ref_kl.sum()
    return metrics | {
        "loss": loss.sum(),
        "policy_loss": pg_loss.sum(),
        "entropy": outputs["entropy"].sum(),
        "approx_kl": approx_kl.sum(),
        "clip_fraction": clipfrac.sum(),
    }


def value_loss(outputs: Mapping[Output, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Return the critic's loss, summed over the action tokens, under the keys `loss` and `value_loss`."""
    v_loss = half_squared_error(outputs["value"], batch.returns).sum()
    return {"loss": v_loss, "value_loss": v_loss}


def half_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """Half the squared error of the critic."""
    return 0.5 * (value - target) ** 2


def kl_k3(log_prob: Tensor, reference: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy | reference): unbiased, never negative."""
    difference = reference - log_prob
    return difference.exp() - difference - 1


def explained_variance(value: Tensor, returns: Tensor) -> float:
    """Explained variance of the critic (n,): 1 is perfect, 0 as good as a constant."""
    return float(1 - (returns - value).var() / returns.var().clamp(min=1e-8))


def dpo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """DPO (Rafailov et al. 2023) of pairs (n,).

    `chosen` is `log p - log reference` of the better episode, summed over its action tokens (n,), `rejected` that of
    the worse one.
    """
    return -functional.logsigmoid(beta * (chosen - rejected))
