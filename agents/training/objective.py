"""What is minimised: a batch is scored and credited once, then its loss is taken in micro-batches."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from agents.distributed.processes import SINGLE_PROCESS, Processes
from agents.models.policy import Policy
from agents.training import advantages, losses
from agents.training.batch import Batch
from agents.training.config import TrainConfig
from agents.training.estimate import estimate
from agents.training.forward import critic_values, final_values, score, score_all, value_all
from agents.training.optimizer import MicroLoss, Terms


class Prepared(NamedTuple):
    """What an update needs beside the batch, all (b, j)."""

    advantage: Tensor
    value: Tensor
    value_target: Tensor
    reference: Tensor


def prepare(
    policy: Policy,
    batch: Batch,
    config: TrainConfig,
    reference: Policy | None = None,
    step_advantage: Tensor | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Prepared:
    """Score a batch with the policy as it is and credit its tokens.

    Args:
        policy: Gives the values, where it has a critic.
        batch: Episodes of one iteration.
        config: Names the estimator.
        reference: The policy to stay close to; `None` where the run has none.
        step_advantage: The step critic's (b, k); `None` where the run has none.
        processes: Those that score the batch together.
    """
    algorithm, temperature = config.algorithm, config.sampling.temperature
    tokens = config.optim.tokens_on(batch.ids.device)
    value, behind = torch.zeros_like(batch.old_log_prob), None
    if policy.value_head is not None:
        value = value_all(policy, batch, tokens, processes)
        behind = final_values(policy, batch, tokens, processes) if algorithm.bootstrap else None
    advantage = estimate(batch, value, algorithm, behind, step_advantage)
    target = advantage + value
    if algorithm.whiten:
        advantage = advantages.whiten(advantage, batch.step, batch.steps)
    kept = batch.old_log_prob
    if reference is not None:
        kept = score_all(reference, batch, tokens, temperature, processes).log_prob
    return Prepared(advantage, value, target, kept)


def policy_loss(policy: Policy, prepared: Prepared, config: TrainConfig) -> MicroLoss:
    """The loss of policy and critic, as sums over a micro-batch, with what is logged beside it."""
    algorithm, temperature = config.algorithm, config.sampling.temperature

    def loss(part: Batch, index: Tensor) -> Terms:
        advantage, _, target, reference = (tensor[index][:, : part.step.shape[1]] for tensor in prepared)
        log_prob, entropy, value = score(policy, part, temperature, entropy_gradient=algorithm.entropy_coef != 0)
        step = part.step if algorithm.ratio == "step" else None
        if algorithm.loss == "ppo":
            surrogate = losses.clipped(log_prob, part.old_log_prob, advantage, algorithm.clip, step)
        else:
            surrogate = losses.policy_gradient(log_prob, advantage)
        critic = losses.squared_error(value, target) * part.mask
        total = surrogate + algorithm.value_coef * critic - algorithm.entropy_coef * entropy
        logged: dict[str, Tensor] = {}
        if algorithm.kl_coef:  # otherwise there is no policy to stay close to
            divergence = losses.kl_k3(log_prob, reference) * part.mask
            total = total + algorithm.kl_coef * divergence
            logged["reference_kl"] = divergence.sum()
        ratio = losses.log_ratio(log_prob.detach(), part.old_log_prob, step)
        return logged | {
            "loss": total.sum(),
            "policy_loss": surrogate.sum(),
            "value_loss": critic.sum(),
            "entropy": entropy.sum(),
            "approx_kl": losses.kl_k3(torch.zeros_like(ratio), ratio).sum(),
            "clip_fraction": ((ratio.exp() - 1).abs() > algorithm.clip).to(ratio.dtype).sum(),
        }

    return loss


def critic_loss(policy: Policy, prepared: Prepared) -> MicroLoss:
    """The critic's loss alone, while it warms up: the policy stays as it is, also where it shares its trunk."""

    def loss(part: Batch, index: Tensor) -> Terms:
        target = prepared.value_target[index][:, : part.step.shape[1]]
        critic = (losses.squared_error(critic_values(policy, part), target) * part.mask).sum()
        return {"loss": critic, "value_loss": critic}

    return loss


def explained_variance(prepared: Prepared, batch: Batch) -> dict[str, float]:
    """`train/explained_variance` of the critic: 1 is perfect, 0 as good as a constant. Empty without a critic."""
    value, target = prepared.value[batch.mask], prepared.value_target[batch.mask]
    if not value.any():
        return {}
    return {"train/explained_variance": float(1 - (target - value).var() / target.var().clamp(min=1e-8))}


def frozen(policy: Policy) -> Policy:
    """A copy of the language model that will not change, to measure divergence from."""
    return Policy(copy.deepcopy(policy.language_model), "none").requires_grad_(False).eval()
