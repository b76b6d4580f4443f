"""ETO: exactly DPO's gradient, and a policy that learns from comparisons."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from agents.models.bundle import PolicyBundle
from agents.models.policy import Policy
from agents.rollout.types import TokenEpisode
from agents.training import losses
from agents.training.batch import collate
from agents.training.config import OptimConfig
from agents.training.dpo import dpo_step, pair_attempts, train_dpo
from agents.training.forward import evaluate_actions, forward
from agents.training.optimizer import PolicyOptimizer
from agents.training.sft_config import DPOConfig
from steptool_env.types import Task, Trajectory
from tests.agents.bandit import RIGHT, WORDS, blind_demonstrations, bundle, exact_bundle, exact_model
from tests.agents.training.test_losses import assert_close, episodes, gradients


@pytest.mark.parametrize("max_tokens", [1, 10_000])
def test_a_step_has_the_gradient_of_dpo_however_it_is_cut(max_tokens: int) -> None:
    made = exact_bundle(1)
    reference = Policy(exact_model(2), "none").frozen_copy()
    played = episodes(6)
    batch = collate(played, 0, dtype=torch.float64)
    gain = forward(made.policy, batch)["log_prob"].sum(1) - evaluate_actions(reference, batch, "log_prob", 1000).sum(1)
    direct = losses.dpo_loss(gain[:3], gain[3:], 0.3).mean()
    direct.backward()  # type: ignore[no-untyped-call]
    want = gradients(made.policy)
    optimizer = PolicyOptimizer(made.policy, OptimConfig(lr=0.0, max_tokens=max_tokens), max_grad_norm=1e9)
    metrics = dpo_step(optimizer, made, reference, list(zip(played[:3], played[3:], strict=True)), 0.3)
    assert metrics["loss"] == pytest.approx(float(direct.detach()), abs=1e-12)
    assert_close(gradients(made.policy), want)


def test_a_policy_learns_from_comparisons(learning_seed: int) -> None:
    """Right attempts against wrong ones: each pair's margin over the reference grows, by more than a nat.

    DPO promises no more: which of all attempts becomes the likeliest is left open, and both of a pair may become rarer.
    """
    made = bundle("none", learning_seed)
    reference = made.policy.frozen_copy()
    pairs = right_and_wrong(made)
    optim = OptimConfig(lr=1e-3)
    config = DPOConfig(epochs=40, batch_pairs=10, beta=1.0, seed=learning_seed, optim=optim)
    metrics = train_dpo(made, pairs, config)
    assert metrics["accuracy"] == 1.0
    assert metrics["loss"] < 0.5 * math.log(2)

    def gain(episodes: list[TokenEpisode]) -> Tensor:
        batch = collate(episodes, 0)
        return (
            evaluate_actions(made.policy, batch, "log_prob", 1000)
            - evaluate_actions(reference, batch, "log_prob", 1000)
        ).sum(1)

    margins = gain([right for right, _ in pairs]) - gain([wrong for _, wrong in pairs])
    assert len(margins) == 30
    assert margins.min() > 1


def right_and_wrong(made: PolicyBundle) -> list[tuple[TokenEpisode, TokenEpisode]]:
    """In each case of the bandit the right attempt beside each of the wrong ones."""
    shown = blind_demonstrations(made.codec)  # type: ignore[arg-type]

    def actions(episode: TokenEpisode) -> tuple[str, ...]:
        return tuple(made.codec.decode_action(episode.ids[a:b]).strip() for a, b in episode.spans)

    tried = [(right, [e for e in shown if WORDS[e.ids[0]] == case]) for case, right in RIGHT.items()]
    return [
        (good, bad)
        for right, attempts in tried
        for good in attempts
        for bad in attempts
        if actions(good) == right != actions(bad)
    ]


def attempts(**outcomes: tuple[int, int]) -> list[Trajectory]:
    """Solved and failed attempts at each task, in the given numbers."""
    return [
        Trajectory(
            Task(task, "toys", "", ()), (), (), True, False, {"outcome": {"is_solved": solved}, "number": number}
        )
        for task, counts in outcomes.items()
        for solved, count in zip((1.0, 0.0), counts, strict=True)
        for number in range(count)
    ]


def encode(trajectory: Trajectory) -> TokenEpisode:
    """Task, outcome and number as tokens."""
    solved, number = int(trajectory.metadata["outcome"]["is_solved"]), int(trajectory.metadata["number"])
    return TokenEpisode((ord(trajectory.task.id), solved, number), ((1, 3),), (0.0, 0.0), (0.0,))


@pytest.mark.parametrize("counts", [(1, 1), (4, 4), (3, 7), (7, 3), (3, 5), (1, 5), (5, 1), (2, 4), (0, 3)])
@pytest.mark.parametrize("per_task", [1, 3, 4, 6, 50])
def test_attempts_are_paired_evenly_and_no_pair_comes_twice(counts: tuple[int, int], per_task: int) -> None:
    pairs = pair_attempts(attempts(a=counts, b=(1, 1)), encode, per_task, seed=3)
    found = [(good.ids, bad.ids) for good, bad in pairs if good.ids[0] == ord("a")]
    assert len(found) == len(set(found)) == min(per_task, counts[0] * counts[1])
    assert len(pairs) == len(found) + 1
    for side, (kind, count) in enumerate(zip((1, 0), counts, strict=True)):
        used = [pair[side][2] for pair in found]
        assert all(pair[side][1] == kind for pair in found)
        often = [used.count(number) for number in range(count)]
        assert max(often, default=0) - min(often, default=0) <= 1


def test_pairs_follow_from_the_seed_and_equal_attempts_count_as_one() -> None:
    tried = attempts(a=(6, 6), b=(6, 6))
    chosen = [[(g.ids, b.ids) for g, b in pair_attempts(tried, encode, 3, seed)] for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(pair_attempts([*attempts(a=(1, 1))] * 3, encode)) == 1


def test_attempts_at_tasks_of_two_suites_are_no_pair() -> None:
    tried = attempts(a=(1, 1))
    apart = [replace(tried[0], task=replace(tried[0].task, suite="others")), tried[1]]
    assert (len(pair_attempts(tried, encode)), pair_attempts(apart, encode)) == (1, [])


def test_an_attempt_of_which_the_judge_is_unsure_is_no_failed_one() -> None:
    solved, failed = attempts(a=(1, 1))
    unsure = replace(failed, metadata={**failed.metadata, "outcome": {"is_solved": 0.5}, "number": 7})
    ((_, rejected),) = pair_attempts([solved, unsure, failed], encode)
    assert rejected == encode(failed)
    assert pair_attempts([solved, unsure], encode) == []


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no task has both"):
        train_dpo(bundle("none"), [], DPOConfig())
