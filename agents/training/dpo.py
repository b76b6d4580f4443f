"""ETO (Song et al. 2024): DPO on the action tokens of pairs of a solved and a failed attempt at a task."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product

import torch
from torch import Tensor

from agents.models.bundle import PolicyBundle
from agents.models.policy import Policy
from agents.rollout.types import TokenEpisode
from agents.seeding import derive
from agents.training import losses
from agents.training.batch import Batch, collate
from agents.training.forward import evaluate_actions, forward
from agents.training.optimizer import PolicyOptimizer
from agents.training.sft import OnStep, batches, distinct
from agents.training.sft_config import DPOConfig
from steptool_env.types import Trajectory

Pair = tuple[TokenEpisode, TokenEpisode]
"""A solved episode, and a failed one of the same task."""


def pair_attempts(
    trajectories: Sequence[Trajectory], encode: Callable[[Trajectory], TokenEpisode], per_task: int = 4, seed: int = 0
) -> list[Pair]:
    """Pair solved and failed episodes of the same task, at most `per_task` pairs, task by task.

    Attempts without an outcome, and those of which a judge is unsure (`is_solved` between 0 and 1), are skipped. Tasks
    of equal ids are different ones if their suites are. See `pair_episodes`.
    """
    judged = ((t, t.metadata.get("outcome", {}).get("is_solved")) for t in trajectories)
    attempts = ((f"{t.task.suite}/{t.task.id}", outcome == 1, encode(t)) for t, outcome in judged if outcome in (0, 1))
    return pair_episodes(attempts, per_task, seed)


def pair_episodes(attempts: Iterable[tuple[str, bool, TokenEpisode]], per_task: int = 4, seed: int = 0) -> list[Pair]:
    """Pair attempts, each a task, true if it was solved, and an episode; at most `per_task` pairs, task by task.

    Pairs are distinct, and the attempts of a task are used equally often, up to one. Attempts of equal tokens count as
    one.
    """
    by_task: dict[str, tuple[list[TokenEpisode], list[TokenEpisode]]] = {}
    for task, is_solved, episode in attempts:
        by_task.setdefault(task, ([], []))[not is_solved].append(episode)
    return [
        pair
        for task, attempts in by_task.items()
        for pair in _pairs(*(_shuffled(distinct(each), derive(seed, "pairs", task)) for each in attempts))[:per_task]
    ]


def _shuffled(episodes: Sequence[TokenEpisode], seed: int) -> list[TokenEpisode]:
    order = torch.randperm(len(episodes), generator=torch.Generator().manual_seed(seed))
    return [episodes[i] for i in order.tolist()]


def _pairs(solved: Sequence[TokenEpisode], failed: Sequence[TokenEpisode]) -> list[Pair]:
    """Every pair once; each round uses both sides evenly and shifts one side by one more."""
    good, bad = len(solved), len(failed)
    if not good or not bad:
        return []
    rounds = product(range(math.gcd(good, bad)), range(math.lcm(good, bad)))
    return [(solved[i % good], failed[(i + shift) % bad]) for shift, i in rounds]


def train_dpo(
    bundle: PolicyBundle, pairs: Sequence[Pair], config: DPOConfig, on_step: OnStep | None = None
) -> dict[str, float]:
    """Train a policy by DPO; the reference is the policy at the start. `on_step` is called after each step.

    Returns:
        Metrics of the last step: `loss` (DPO, mean over pairs), `margin` (mean log-ratio of the solved minus the failed
        attempt, in nats), `accuracy` (share of pairs with a positive margin), `grad_norm`.

    Raises:
        ValueError: There are no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs: no task has both a solved and a failed attempt")
    optimizer, reference = PolicyOptimizer(bundle.policy, config.optim), bundle.policy.frozen_copy()
    total, metrics = math.ceil(len(pairs) / config.batch_pairs) * config.epochs, dict[str, float]()
    for step, chosen in enumerate(batches(pairs, config.batch_pairs, config.epochs, config.seed, "preference")):
        metrics = dpo_step(optimizer, bundle, reference, chosen, config.beta)
        if on_step is not None:
            on_step(step + 1, total, metrics)
    return metrics


def dpo_step(
    optimizer: PolicyOptimizer, bundle: PolicyBundle, reference: Policy, pairs: Sequence[Pair], beta: float
) -> dict[str, float]:
    """Take an optimizer step on a batch of pairs.

    The margins are computed first, without gradients; then each episode's log-probability is weighted with the
    derivative of the loss by its margin. That is DPO's gradient exactly, and the episodes of a pair need not share
    a micro-batch.
    """
    policy, tokens = bundle.policy, optimizer.config.tokens_on(bundle.policy.device.type)
    episodes = [*(solved for solved, _ in pairs), *(failed for _, failed in pairs)]
    batch = collate(episodes, bundle.codec.pad_id, device=policy.device, dtype=policy.score_dtype)
    log_prob, ref_log_prob = (evaluate_actions(p, batch, "log_prob", tokens) for p in (policy, reference))
    log_ratio = (log_prob - ref_log_prob).sum(1)
    solved, failed = log_ratio.chunk(2)
    margin = solved - failed
    slope = beta * torch.sigmoid(-beta * margin)
    weight = slope * batch.action_tokens / len(pairs)  # the optimizer divides by the tokens
    batch.advantage = torch.cat([weight, -weight])[:, None] * batch.mask

    def loss(micro: Batch) -> dict[str, Tensor]:
        return {"loss": -(micro.advantage * forward(policy, micro, ("log_prob",))["log_prob"]).sum()}

    metrics = optimizer.step(batch, loss)
    return {
        "loss": float(losses.dpo_loss(solved, failed, beta).mean()),
        "accuracy": float((margin > 0).to(margin.dtype).mean()),
        "margin": float(margin.mean()),
        "grad_norm": metrics["grad_norm"],
    }
