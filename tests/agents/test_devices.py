"""Sampling and training on a device give what plain formulas give: on the CPU, and, marked `cuda`, on a GPU.

The graphs and kernels of a GPU run nowhere else, so every test of this file runs on both.
"""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import agents.models.policy
from agents.models.decoder import SHAPES, build_decoder, set_dtype
from agents.models.policy import Policy
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from agents.rollout.types import TokenEpisode
from agents.training.batch import collate
from agents.training.config import OptimConfig, TrainConfig
from agents.training.forward import evaluate_actions, forward
from agents.training.losses import ppo_loss
from agents.training.optimizer import PolicyOptimizer
from agents.training.trainer import OnlineTrainer
from tests.agents.bandit import WORDS, bandit_config, bandits, bundle, bundle_of, llama, word_tokenizer
from tests.agents.rollout.test_static_sampler import play

KINDS = (TokenSampler, StaticTokenSampler)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def qwen(device: str, dtype: torch.dtype = torch.float32) -> Policy:
    """A fresh decoder of the smallest size, as policies from scratch have it."""
    return Policy(set_dtype(build_decoder(SHAPES["nano"], word_tokenizer(), 64), dtype), "none").to(device).eval()


def sampled(policy: Policy, kind: type[TokenSampler]) -> list[TokenEpisode]:
    made = bundle_of(policy)
    sampler = kind(policy, context=64, stop_id=2, sampling=Sampling(max_action_tokens=6), seed=3)
    starts = [EpisodeSpec(seed, seed // 8) for seed in range(64)]
    return collect_rollouts(bandits(), sampler, made.codec, starts).episodes


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("model", ["llama", "qwen"])
def test_the_static_sampler_draws_the_tokens_of_the_ragged_one(device: str, model: str, temperature: float) -> None:
    policy = Policy(llama(), "none").to(device) if model == "llama" else qwen(device)
    want, got = (play(kind, policy, temperature, 20) for kind in KINDS)
    assert [[s.ids for s in acted] for acted in got] == [[s.ids for s in acted] for acted in want]
    for ours, theirs in zip(chain(*got), chain(*want), strict=True):
        assert ours.log_probs == pytest.approx(theirs.log_probs, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_draws_the_distribution_of_the_model(device: str, kind: type[TokenSampler]) -> None:
    """Frequencies of the second of two tokens, which a decoding step draws, lie near the exact probabilities.

    Near is five deviations of 4,000 draws, and 0.01 for the rounding of bfloat16.
    """
    count, exact = 4000, qwen("cpu")
    policy = qwen(device, torch.bfloat16)
    sampler = kind(policy, context=64, stop_id=2, sampling=Sampling(max_action_tokens=2), seed=3)
    for slot in range(count):
        sampler.start(slot, [3, 4])
    drawn = [s.ids for s in act(sampler, range(count))]
    starts = torch.tensor([[3, 4, token] for token in range(len(WORDS))])
    with torch.no_grad():
        hidden = exact.hidden(starts)
        first = exact.output_layer(hidden[0, 1]).softmax(-1)
        second = exact.output_layer(hidden[:, 2]).softmax(-1)
    missing = float(first[2])
    first[2] = 0.0  # an action ends at the stop token
    want = torch.cat([(first[:, None] * second).sum(0), torch.tensor([missing])])
    seen = torch.bincount(torch.tensor([ids[1] if len(ids) > 1 else len(WORDS) for ids in drawn]), minlength=len(want))
    assert ((seen / count - want).abs() < 5 * (want * (1 - want) / count).sqrt() + 0.01).all()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("kind", KINDS)
def test_sampler_and_trainer_agree(device: str, kind: type[TokenSampler], dtype: torch.dtype, bound: float) -> None:
    policy = qwen(device, dtype)
    batch = collate(sampled(policy, kind), 0, device=device)
    got = evaluate_actions(policy, batch, "log_prob", 10_000)
    difference = (got - batch.old_log_prob)[batch.mask]
    assert len(difference) > 200
    assert float(difference.abs().max()) < bound
    assert float(difference.mean().abs()) < bound / 10


def test_an_autocast_trainer_stays_near_the_sampler(device: str) -> None:
    """`dtype: mixed`: the first ratio of an update is near 1, not equal to it."""
    policy = qwen(device)
    batch = collate(sampled(policy, StaticTokenSampler), 0, device=device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        got = evaluate_actions(policy, batch, "log_prob", 10_000)
    assert got.dtype == torch.float32
    assert float((got - batch.old_log_prob).abs().max()) < 0.1


def test_chunked_log_probs_of_packed_rows_are_the_plain_ones(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are their gradients: micro-batches of one row, of rows of similar length, and of all rows."""
    policy = qwen(device)
    episodes = [replace(e, rewards=(1.0, 0.5)) for e in sampled(policy, TokenSampler)]
    batch = collate(episodes, 0, device=device)
    batch.advantage = torch.ones_like(batch.old_log_prob)
    hidden = policy.hidden(batch.ids)
    logits = policy.output_layer(hidden.gather(1, batch.position[..., None].expand(-1, -1, policy.width)))
    plain = -functional.cross_entropy(logits.transpose(1, 2), batch.action, reduction="none") * batch.mask
    (-plain.sum() / batch.action_tokens).backward()  # type: ignore[no-untyped-call]
    want = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    monkeypatch.setattr(agents.models.policy, "_CHUNK", 50)
    config = bandit_config(algo="reinforce").algorithm
    for max_tokens in (1, 100, 100_000):
        got = evaluate_actions(policy, batch, "log_prob", max_tokens)
        torch.testing.assert_close(got, plain.detach(), atol=1e-4, rtol=0)
        optimizer = PolicyOptimizer(policy, OptimConfig(max_tokens=max_tokens, lr=0.0), max_grad_norm=1e9)
        optimizer.step(batch, lambda micro: ppo_loss(forward(policy, micro), micro, config))
        for name, parameter in policy.named_parameters():
            if name in want:
                torch.testing.assert_close(parameter.grad, want[name], atol=1e-4, rtol=1e-3)


def config_on(device: str, **settings: object) -> TrainConfig:
    return bandit_config(iterations=3, episodes=32, policy={"device": device}, rollout={"engine": "static"}, **settings)


def trainer_on(device: str) -> OnlineTrainer:
    config = config_on(device)
    made = bundle(config.policy.critic)
    return OnlineTrainer(config, replace(made, policy=made.policy.to(device)), bandits())


def weights(run: OnlineTrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in run.bundle.policy.state_dict().items()}


def assert_equal_runs(one: OnlineTrainer, other: OnlineTrainer) -> None:
    mine, theirs = weights(one), weights(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_two_runs_are_equal(device: str) -> None:
    one, other = trainer_on(device), trainer_on(device)
    before = weights(one)
    metrics = [{k: v for k, v in run.iterate().items() if not k.startswith("time/")} for run in (one, other)]
    one.iterate()
    other.iterate()
    assert metrics[0] == metrics[1]
    assert_equal_runs(one, other)
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(one).items())


def test_a_resumed_run_is_the_uninterrupted_one(device: str, tmp_path: Path) -> None:
    whole, first, second = (trainer_on(device) for _ in range(3))
    for _ in range(3):
        whole.iterate()
    for _ in range(2):
        first.iterate()
    first.save(tmp_path / "c")
    second.resume(tmp_path / "c")
    second.iterate()
    assert second.over
    assert_equal_runs(second, whole)
