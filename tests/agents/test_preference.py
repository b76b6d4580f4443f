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
from agents.preference import PreferenceConfig, preference_step, train_preference
from agents.scoring import score, score_all
from agents.update import OptimConfig, Updater
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


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no task has both"):
        train_preference(learner("none"), [], PreferenceConfig())
