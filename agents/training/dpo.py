"""ETO (Song et al. 2024): learn from pairs of a solved and a failed attempt at a task, by DPO on action tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from agents.models.bundle import PolicyBundle
from agents.models.policy import Policy
from agents.rollout.types import Episode
from agents.seeding import derive
from agents.training import losses
from agents.training.batch import Batch, collate, mini_batches
from agents.training.forward import score, score_all
from agents.training.objective import frozen
from agents.training.optimizer import OptimConfig, Terms, Updater
from agents.training.sft import distinct
from steptool_env.types import Trajectory

Pair = tuple[Episode, Episode]
"""A solved episode, and a failed one of the same task."""


@dataclass(frozen=True)
class PreferenceConfig:
    """How pairs are learnt."""

    epochs: int = 2
    """Passes over the pairs."""
    batch_pairs: int = 16
    """Pairs per optimiser step."""
    beta: float = 0.1
    """How far the policy may leave the one that it began as; small is far."""
    seed: int = 0
    """Random seed of which attempts are paired, and of the order of the pairs."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-4))


def paired(
    trajectories: Sequence[Trajectory], encode: Callable[[Trajectory], Episode], per_task: int = 4, seed: int = 0
) -> list[Pair]:
    """Pairs of a solved and a failed episode of the same task.

    No pair comes twice, and no attempt is paired again before every other attempt of its kind has been paired as often.
    Attempts of the same tokens count as one.

    Args:
        trajectories: Attempts at tasks; those without an outcome are passed over.
        encode: Makes an episode of a trajectory.
        per_task: Pairs of one task at most.
        seed: Random seed of which attempts are paired.

    Returns:
        The pairs, task by task in the order of `trajectories`.
    """
    by_task: dict[str, tuple[list[Episode], list[Episode]]] = {}
    for trajectory in trajectories:
        outcome = trajectory.metadata.get("outcome", {}).get("is_solved")
        if outcome is not None:
            by_task.setdefault(trajectory.task.id, ([], []))[outcome < 1].append(encode(trajectory))
    return [
        pair
        for task, attempts in by_task.items()
        for pair in _pairs(*(_shuffled(distinct(each), derive(seed, "pairs", task)) for each in attempts))[:per_task]
    ]


def _shuffled(episodes: Sequence[Episode], seed: int) -> list[Episode]:
    order = torch.randperm(len(episodes), generator=torch.Generator().manual_seed(seed))
    return [episodes[i] for i in order.tolist()]


def _pairs(solved: Sequence[Episode], failed: Sequence[Episode]) -> list[Pair]:
    """Every pair once, in rounds in which both sides go round evenly; each round shifts one side by one more."""
    good, bad = len(solved), len(failed)
    if not good or not bad:
        return []
    rounds = product(range(math.gcd(good, bad)), range(math.lcm(good, bad)))
    return [(solved[i % good], failed[(i + shift) % bad]) for shift, i in rounds]


def train_preference(
    learner: PolicyBundle,
    pairs: Sequence[Pair],
    config: PreferenceConfig,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, float]:
    """Make solved attempts likelier than failed ones, compared with the policy that training began with.

    Args:
        learner: Its language model is trained.
        pairs: From `paired`.
        config: How.
        on_step: Told of each step: its number, how many there are, the metrics.

    Returns:
        Metrics of the last step: `loss` (DPO, mean over pairs), `accuracy` (share of pairs whose solved attempt
        gained on the failed one), `margin` (by how much, in nats), `grad_norm`.

    Raises:
        ValueError: There are no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs: no task has both a solved and a failed attempt")
    updater, reference = Updater(learner.policy, config.optim), frozen(learner.policy)
    parts = math.ceil(len(pairs) / config.batch_pairs)
    step, metrics = 0, dict[str, float]()
    for epoch in range(config.epochs):
        shuffle = torch.Generator().manual_seed(derive(config.seed, "preference", epoch))
        for picked in mini_batches(len(pairs), parts, shuffle):
            chosen = [pairs[i] for i in picked.tolist()]
            metrics = preference_step(updater, learner, reference, chosen, config.beta)
            step += 1
            if on_step is not None:
                on_step(step, parts * config.epochs, metrics)
    return metrics


def preference_step(
    updater: Updater, learner: PolicyBundle, reference: Policy, pairs: Sequence[Pair], beta: float
) -> dict[str, float]:
    """One optimiser step on some pairs.

    The margins are measured first, without gradients; then each episode's log-probability is weighed with the
    derivative of the loss by its margin. That is DPO's gradient exactly, and the episodes of a pair need not share
    a micro-batch.
    """
    policy, tokens = learner.policy, updater.config.tokens_on(learner.policy.device)
    episodes = [*(solved for solved, _ in pairs), *(failed for _, failed in pairs)]
    batch = collate(episodes, learner.codec.pad_id, device=policy.device, dtype=policy.score_dtype)
    gain = (score_all(policy, batch, tokens).log_prob - score_all(reference, batch, tokens).log_prob).sum(1)
    solved, failed = gain.chunk(2)
    margin = solved - failed
    slope = -beta * torch.sigmoid(-beta * margin) * batch.tokens / len(pairs)  # the updater divides by the tokens
    weight = torch.cat([slope, -slope])

    def loss(part: Batch, index: Tensor) -> Terms:
        return {"loss": (weight[index, None] * score(policy, part).log_prob).sum()}

    metrics = updater.step(batch, torch.arange(len(batch), device=policy.device), loss)
    return {
        "loss": float(losses.preference(solved, failed, beta).mean()),
        "accuracy": float((margin > 0).to(margin.dtype).mean()),
        "margin": float(margin.mean()),
        "grad_norm": metrics["grad_norm"],
    }
