"""ETO: exactly DPO's gradient, and a policy that learns from comparisons."""

from __future__ import annotations

import pytest
import torch

from agents import losses
from agents.batch import Episode, collate
from agents.codec import PlainCodec
from agents.learner import Learner
from agents.objective import frozen
from agents.policy import Policy
from agents.preference import PreferenceConfig, paired, preference_step, train_preference
from agents.scoring import score, score_all
from agents.update import OptimConfig, Updater
from steptool_env.types import Task, Trajectory
from tests.agents.bandit import RIGHT, blind_demonstrations, exact_model, learner, word_tokenizer
from tests.agents.test_losses import assert_close, episodes, gradients


@pytest.mark.parametrize("max_tokens", [1, 10_000])
def test_a_step_has_the_gradient_of_dpo_however_it_is_cut(max_tokens: int) -> None:
    tokenizer = word_tokenizer()
    made = Learner(Policy(exact_model(1), "none"), tokenizer, PlainCodec(tokenizer), 64)
    reference = frozen(Policy(exact_model(2), "none"))
    played = episodes(6)
    batch = collate(played, 0, dtype=torch.float64)
    gain = score(made.policy, batch).log_prob.sum(1) - score_all(reference, batch, 1000).log_prob.sum(1)
    direct = losses.preference(gain[:3], gain[3:], 0.3).mean()
    direct.backward()  # type: ignore[no-untyped-call]
    want = gradients(made.policy)
    updater = Updater(made.policy, OptimConfig(lr=0.0, max_grad_norm=1e9, max_tokens=max_tokens))
    metrics = preference_step(updater, made, reference, list(zip(played[:3], played[3:], strict=True)), 0.3)
    assert metrics["loss"] == pytest.approx(float(direct.detach()), abs=1e-12)
    assert_close(gradients(made.policy), want)


def test_a_policy_learns_from_comparisons() -> None:
    """Right attempts against wrong ones, in every case: the right actions become the likeliest."""
    made = learner("none")
    shown = blind_demonstrations(made.codec)  # type: ignore[arg-type]
    tried = {case: [e for e in shown if e.ids[0] == first] for case, first in (("x", 3), ("y", 4))}

    def actions(episode: Episode) -> tuple[str, ...]:
        return tuple(made.codec.action_text(episode.ids[a:b]).strip() for a, b in episode.spans)

    def likelihood(episode: Episode) -> float:
        return float(score_all(made.policy, collate([episode], 0), 100).log_prob.sum())

    pairs = [
        (good, bad)
        for case, attempts in tried.items()
        for good in attempts
        for bad in attempts
        if actions(good) == RIGHT[case] != actions(bad)
    ]
    config = PreferenceConfig(epochs=20, batch_pairs=10, beta=0.1, optim=OptimConfig(lr=3e-3))
    metrics = train_preference(made, pairs, config)
    assert metrics["accuracy"] == 1.0
    for case, attempts in tried.items():
        assert actions(max(attempts, key=likelihood)) == RIGHT[case]


def attempts(**outcomes: tuple[int, int]) -> list[Trajectory]:
    """Of each task as many solved and failed attempts, in turn."""
    return [
        Trajectory(
            Task(task, "toys", "", ()), (), (), True, False, {"outcome": {"is_solved": solved}, "number": number}
        )
        for task, counts in outcomes.items()
        for solved, count in zip((1.0, 0.0), counts, strict=True)
        for number in range(count)
    ]


def encode(trajectory: Trajectory) -> Episode:
    """Task, outcome and number as tokens."""
    solved, number = int(trajectory.metadata["outcome"]["is_solved"]), int(trajectory.metadata["number"])
    return Episode((ord(trajectory.task.id), solved, number), ((1, 3),), (0.0, 0.0), (0.0,))


@pytest.mark.parametrize("counts", [(1, 1), (4, 4), (3, 7), (7, 3), (1, 5), (5, 1), (2, 4), (0, 3)])
@pytest.mark.parametrize("per_task", [1, 3, 4, 50])
def test_attempts_are_paired_evenly_and_no_pair_comes_twice(counts: tuple[int, int], per_task: int) -> None:
    pairs = paired(attempts(a=counts, b=(1, 1)), encode, per_task, seed=3)
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
    chosen = [[(g.ids, b.ids) for g, b in paired(tried, encode, 3, seed)] for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(paired([*attempts(a=(1, 1))] * 3, encode)) == 1


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no task has both"):
        train_preference(learner("none"), [], PreferenceConfig())
