"""The truth of credit: known statistics, forks that leave their parent alone, and true advantages of a real policy."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.credit.credit_report import REWARDS, Credit, bias, correlation, reliability, report, signal_to_noise
from benchmarks.credit.credit_truth import (
    ESTIMATORS,
    GROUP,
    Options,
    _batches,
    _bundle,
    _fit,
    _forks,
    _measure,
    _task,
    policy_gradients,
)

OPTIONS = Options(tasks=2, forks=4, critic=4, slots=32)


def test_statistics_have_known_values() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=50_000), rng.normal(size=(3, 50_000))
    assert correlation(truth, truth + noise[0]) == pytest.approx(0.5**0.5, abs=0.01)
    # Each half has as much noise as truth, so their mean is two thirds truth.
    assert reliability(np.stack([truth + noise[1], truth + noise[2]])) == pytest.approx(2 / 3, abs=0.01)
    assert correlation(truth, np.zeros_like(truth)) == 0
    assert signal_to_noise(0.5**0.5) == pytest.approx(1.0)
    step = np.arange(50_000) % 2
    found = bias(truth + 2 * step - 1, truth, step)
    assert found[1] - found[0] == pytest.approx(2 / 2**0.5, abs=0.05)  # of deviation sqrt(2)


def test_forks_leave_their_state_untouched_and_the_same_stream_plays_the_same_episode() -> None:
    forks = _forks(OPTIONS, _bundle(OPTIONS))
    (played,) = forks.play([(_task(OPTIONS, forks, 0), "0")])
    before = [json.dumps(state.record) for state in played.states]
    starts = [(state, stream) for state in played.states for stream in ("a", "b", "a")]
    found = forks.play(starts)
    assert [json.dumps(state.record) for state in played.states] == before
    for (state, _), fork in zip(starts, found, strict=True):
        assert fork.episode.ids[: len(state.ids)] == state.ids
        assert fork.states[0] == state
    for first in range(0, len(found), 3):
        one, _, again = found[first : first + 3]
        assert one == again
    assert len({fork.episode.ids for fork in found}) > 1


def test_the_truth_is_centred_and_estimators_are_measured_against_it() -> None:
    """On its own continuations every state's advantages have mean 0; estimates and truths are of the same calls."""
    bundle = _bundle(OPTIONS)
    forks = _forks(OPTIONS, bundle)
    heads = _fit(bundle, forks.play([(_task(OPTIONS, forks, 9), str(n)) for n in range(4)]))
    credit = _measure((OPTIONS, heads, None, [0]))
    assert set(credit.estimates["final"]) == {*ESTIMATORS, "tree"}
    for reward in REWARDS:
        assert credit.truth[reward].shape == (2, len(credit.step))
        assert {each.shape for each in credit.estimates[reward].values()} == {credit.step.shape}
        assert (credit.value[reward] <= 1).all()
    # From the first state to the end, the true advantages of an episode sum to its return less the first value.
    begin = np.flatnonzero(credit.step == 0)
    total = np.add.reduceat(credit.truth["final"].mean(0), begin) + credit.value["final"][begin]
    np.testing.assert_allclose(total, total.round(), atol=1e-12)  # solved or not
    # Values are of the rewards to come, as the critic's: one and its advantage are the reward and the value after it.
    starts = [(_task(OPTIONS, forks, 0), f"0/{n}") for n in range(GROUP)]
    rewards = np.concatenate([each.episode.rewards for each in forks.play(starts)])  # of the episodes measured
    after = np.append(credit.value["progress"][1:], 0.0) * np.append(credit.step[1:] > 0, False)
    before = credit.value["progress"] + credit.truth["progress"].mean(0)
    np.testing.assert_allclose(before, rewards + after, atol=1e-12)
    twice = Credit.merged([credit, replace(credit, task=credit.task + 2)])
    assert len(twice.step) == 2 * len(credit.step)
    result = report(twice, {}, [], 64)
    assert [len(rows) for rows in result.tables.values()] == [
        len(ESTIMATORS) + 2,
        len(ESTIMATORS) + 2,
        *[len(ESTIMATORS) + 1] * 2,
    ]


def test_policy_gradients_are_linear_in_the_advantages_and_the_same_in_micro_batches() -> None:
    bundle = _bundle(OPTIONS)
    forks = _forks(OPTIONS, bundle)
    batch = _batches(bundle, {}, forks.play([(_task(OPTIONS, forks, 0), str(n)) for n in range(3)]))["final"]
    one, other = torch.randn(2, *batch.step_index.shape, generator=torch.Generator().manual_seed(0)) * batch.mask
    found = policy_gradients(bundle.policy, batch, torch.stack([one, other, one - 2 * other]), 10_000)
    torch.testing.assert_close(found[2], found[0] - 2 * found[1], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(policy_gradients(bundle.policy, batch, one[None], 1)[0], found[0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("wrong", [{"tasks": 0}, {"forks": 3}, {"jobs": 0}])
def test_wrong_options_are_refused(wrong: dict[str, int]) -> None:
    from benchmarks.credit.credit_truth import run

    with pytest.raises(SystemExit, match="must be at least 1"):
        run(replace(Options(config=Path("agents/demo/configs/demo.yaml")), **wrong))


@pytest.mark.parametrize(("tasks", "jobs", "multiple"), [(12, 1, 8), (32, 3, 24), (4, 2, 16)])
def test_gradients_of_fewer_episodes_than_the_table_says_are_refused(tasks: int, jobs: int, multiple: int) -> None:
    from benchmarks.credit.credit_truth import run

    with pytest.raises(SystemExit, match=rf"--tasks {tasks}: .* must be a multiple of {multiple}"):
        run(Options(tasks=tasks, jobs=jobs, reference=2048))
