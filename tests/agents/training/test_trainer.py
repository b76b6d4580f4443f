"""The trainer: variants of the loss learn, the critic warms up, metrics are logged, wrong settings are named."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

import steptool_env.errors
from agents.errors import ConfigurationError, TrainingError
from agents.models import checkpoint
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.config import Sampling
from agents.rollout.sampler import TokenSampler
from agents.rollout.types import TokenEpisode
from agents.training.advantages import Estimator, broadcast_to_tokens, make_estimator, returns_to_go
from agents.training.batch import collate
from agents.training.config import AlgorithmConfig, make_config, read_config
from agents.training.forward import evaluate_actions, forward
from agents.training.losses import ppo_loss
from agents.training.metrics_log import MetricsLog, read_metrics
from agents.training.sft_config import read_sft_config
from agents.training.trainer import OnlineTrainer
from tests.agents.bandit import bandit_config, bandits, bundle, train, trainer
from tests.agents.disk import files_no_larger_than

LEARNT = 0.7
"""A return far above the 0.25 of the blind policy. The best is 1."""


EXPLORE = {"ent_coef": 0.01}
"""Without it some seeds settle on a policy before they have tried the better action."""
STEADY: dict[str, Any] = {"iterations": 40, "algorithm": EXPLORE, "optim": {"lr": 1.5e-3, "value_lr": 3e-3}}


def final_return(seed: int, settings: dict[str, Any], **arguments: Any) -> float:
    """Mean return of the last five iterations."""
    return sum(train(bandit_config(seed=seed, **settings), seed=seed, **arguments)[-5:]) / 5


def play(run: OnlineTrainer) -> list[TokenEpisode]:
    """Some episodes of the run's policy."""
    sampler = TokenSampler(run.bundle.policy, context=64, stop_id=2, sampling=Sampling(max_action_tokens=2), seed=3)
    starts = [EpisodeSpec(seed, seed // 8) for seed in range(64)]
    return collect_rollouts(bandits(), sampler, run.bundle.codec, starts).episodes


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
def test_a_divergence_from_the_reference_is_logged_where_there_is_one(kl_coef: float) -> None:
    run = trainer(bandit_config(algorithm={"kl_coef": kl_coef}))
    assert ("train/reference_kl" in run.update(play(run))) == (kl_coef > 0)


def test_it_learns_near_a_reference_too(learning_seed: int) -> None:
    assert final_return(learning_seed, {**STEADY, "algorithm": EXPLORE | {"kl_coef": 0.001}}) > LEARNT


def half_return(config: AlgorithmConfig) -> Estimator:
    """Factory of an estimator: half the return to go, the same for all tokens of a step."""
    return lambda batch: 0.5 * broadcast_to_tokens(returns_to_go(batch.reward, config.gamma), batch.step_index)


def test_an_estimator_can_be_given_as_module_and_factory() -> None:
    run = trainer(bandit_config(algo="reinforce", algorithm={"advantage": f"{__name__}:half_return"}))
    batch = collate(play(run), 0)
    plain, half = (
        make_estimator(AlgorithmConfig(advantage=name))(batch) for name in ("reinforce", f"{__name__}:half_return")
    )
    assert torch.equal(half, 0.5 * plain)
    assert run.iterate()["train/grad_norm"] > 0
    with pytest.raises(steptool_env.errors.ConfigurationError, match="estimator 'nowhere:half' cannot be loaded"):
        trainer(bandit_config(algo="reinforce", algorithm={"advantage": "nowhere:half"}))


def test_a_large_kl_coefficient_keeps_the_policy_at_the_reference(learning_seed: int) -> None:
    free, held = (
        final_return(learning_seed, {"iterations": 15, "algorithm": EXPLORE | {"kl_coef": coefficient}})
        for coefficient in (0.0, 10.0)
    )
    assert held < 0.4 < LEARNT < free


def test_the_first_loss_is_measured_at_ratio_one() -> None:
    run = trainer(bandit_config())
    batch = collate(play(run), 0)
    terms = ppo_loss(forward(run.bundle.policy, batch), batch, run.config.algorithm)
    assert float(terms["clip_fraction"]) == 0
    assert float(terms["approx_kl"].detach()) / batch.action_tokens < 1e-9


def test_the_divergence_of_the_sampler_is_that_before_the_first_update() -> None:
    run = trainer(bandit_config(algorithm={"mini_batches": 4}, optim={"lr": 1e-2}))
    episodes = play(run)
    metrics = run.update(episodes)
    assert metrics["train/sampler_kl"] < 1e-9 < metrics["train/approx_kl"]
    assert run.update(episodes)["train/sampler_kl"] > 1e-5, "the policy is no longer the one that sampled"


@pytest.mark.parametrize("trunk", ["shared", "detached", "separate"])
def test_the_critic_warms_up_alone(trunk: str) -> None:
    """Bit by bit the same policy while the critic moves; afterwards the policy moves too."""
    run = trainer(bandit_config(critic_warmup=1, episodes=16, policy={"critic": trunk}))
    policy, batch = run.bundle.policy, collate(play(run)[:8], 0)

    def outputs() -> tuple[torch.Tensor, torch.Tensor]:
        return evaluate_actions(policy, batch, "log_prob", 1000), evaluate_actions(policy, batch, "value", 1000)

    log_prob, value = outputs()
    run.iterate()
    warmed, learnt = outputs()
    assert torch.equal(warmed, log_prob)
    assert not torch.equal(learnt, value)
    run.iterate()
    assert not torch.equal(outputs()[0], log_prob)


def test_the_critic_learns_what_the_policy_is_worth(learning_seed: int) -> None:
    """Before the first action the value, at first 0, is the mean return of the policy; gamma 1, the policy held."""
    settings = {"critic_warmup": 10, "iterations": 10, "episodes": 256, "seed": learning_seed}
    config = bandit_config(algorithm={"gamma": 1.0}, policy={"critic": "separate"}, **settings)
    run = trainer(config, seed=learning_seed)
    returns: list[float] = []
    run.run(lambda _, metrics: returns.append(metrics["rollout/return"]))
    batch = collate(play(run), 0)
    value = evaluate_actions(run.bundle.policy, batch, "value", 10_000)
    assert float(value[:, 0].mean()) == pytest.approx(sum(returns) / len(returns), abs=0.07)


def test_an_entropy_bonus_keeps_the_policy_broader(learning_seed: int) -> None:
    entropies = []
    for coefficient in (0.0, 0.2):
        config = bandit_config(iterations=12, algorithm={"ent_coef": coefficient}, seed=learning_seed)
        last: dict[str, float] = {}
        trainer(config, seed=learning_seed).run(lambda _, metrics, last=last: last.update(metrics))
        entropies.append(last["train/entropy"])
    assert entropies[1] > 1.3 * entropies[0]


def test_a_loss_that_is_not_finite_stops_training_with_the_weights_intact() -> None:
    run = trainer(bandit_config())
    episodes = play(run)
    object.__setattr__(episodes[0], "rewards", (float("nan"), 0.0))
    before = [p.detach().clone() for p in run.bundle.policy.parameters()]
    with pytest.raises(TrainingError, match="not finite"):
        run.update(episodes)
    assert all(torch.equal(a, b) for a, b in zip(before, run.bundle.policy.parameters(), strict=True))


def test_a_group_without_variance_is_not_trained_on() -> None:
    run = trainer(bandit_config(algo="grpo", episodes=16))
    episodes = play(run)
    for episode in episodes:
        object.__setattr__(episode, "rewards", (0.1, 0.1))
    metrics = run.update(episodes)
    assert metrics == {"train/idle_episodes": 1.0}


@pytest.mark.parametrize("warmup", [0, 1])
def test_a_critic_learns_from_episodes_without_an_advantage(warmup: int) -> None:
    """Values of 0 and equal rewards: every normalised advantage is 0, and every value is wrong."""
    critic: dict[str, Any] = {"critic_warmup": warmup, "policy": {"critic": "shared"}}
    run = trainer(bandit_config(episodes=16, algorithm={"gae_lambda": 0.0}, **critic))
    episodes = play(run)
    for episode in episodes:
        object.__setattr__(episode, "rewards", (1.0, 1.0))
    head = run.bundle.policy.value_head
    assert head is not None
    before = [p.detach().clone() for p in head.parameters()]
    run.update(episodes)
    assert not all(torch.equal(a, b) for a, b in zip(before, head.parameters(), strict=True))


def test_a_group_without_variance_has_a_gradient_of_the_divergence() -> None:
    run = trainer(bandit_config(algo="grpo", episodes=16, algorithm={"kl_coef": 0.1}))
    with torch.no_grad():
        for parameter in run.bundle.policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    episodes = play(run)
    for episode in episodes:
        object.__setattr__(episode, "rewards", (0.1, 0.1))
    metrics = run.update(episodes)
    assert metrics["train/idle_episodes"] == 1.0
    assert metrics["train/grad_norm"] > 0


@pytest.mark.parametrize(
    ("mini_batches", "active", "steps"), [(8, 8, 8), (8, 4, 4), (8, 1, 1), (2, 7, 2), (2, 5, 1), (4, 1, 1)]
)
def test_groups_without_variance_make_fewer_mini_batches_and_no_smaller_ones(
    mini_batches: int, active: int, steps: int
) -> None:
    """Optimiser steps are in proportion to the groups that teach, here of 64 episodes in 8 groups."""
    run = trainer(bandit_config(algo="grpo", algorithm={"mini_batches": mini_batches, "epochs": 1}))
    episodes = play(run)
    for i, episode in enumerate(episodes):
        object.__setattr__(episode, "rewards", (float(i % 2 and episode.group < active), 0.0))
    metrics = run.update(episodes)
    assert metrics["train/idle_episodes"] == pytest.approx(1 - active / 8)
    taken = {int(state["step"]) for state in run._optimizer.adamw.state.values()}
    assert taken == {steps}


def test_metrics_are_logged_against_calls_and_a_resumed_log_is_unbroken(tmp_path: Path) -> None:
    config = bandit_config(iterations=3, episodes=16, checkpoint_every=2, eval_every=2, out=str(tmp_path))
    log = MetricsLog(tmp_path, loggers=["tensorboard"])
    run = trainer(config)
    run = type(run)(config, run.bundle, bandits(), evaluation=lambda: {"eval/is_solved": 0.5}, log=log)
    run.run()
    log.close()
    records = read_metrics(tmp_path)
    assert [r["calls"] for r in records] == [0, 32, 64, 96]
    assert [("eval/is_solved" in r) for r in records] == [True, False, True, True]
    assert (tmp_path / "checkpoint-2").exists()
    assert (tmp_path / "checkpoint-3").exists()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"calls": 12')  # the run was killed, or its disk was full
    MetricsLog(tmp_path, keep_until=2)
    assert [r["iteration"] for r in read_metrics(tmp_path)] == [0, 1, 2]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"calls": 96, "iter')  # what a reader sees of a record that is being written
    assert [r["iteration"] for r in read_metrics(tmp_path)] == [0, 1, 2]


@pytest.mark.parametrize(("every", "found"), [(0, [3]), (2, [2, 3]), (3, [3])])
def test_the_last_policy_of_a_run_is_kept(every: int, found: list[int], tmp_path: Path) -> None:
    run = trainer(bandit_config(iterations=3, episodes=16, checkpoint_every=every, out=str(tmp_path)))
    run.run()
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [f"checkpoint-{number}" for number in found]
    kept = bundle()
    checkpoint.load_weights(tmp_path / "checkpoint-3", kept.policy)
    want = run.bundle.policy.language_model.state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in kept.policy.language_model.state_dict().items())


@pytest.mark.parametrize(
    ("keep_until", "want"), [(2, [(0, 0.0), (10, 1.0), (20, 2.0), (30, -3.0)]), (None, [(30, -3.0)])]
)
def test_a_resumed_run_drops_what_was_logged_after_its_checkpoint(
    tmp_path: Path, keep_until: int | None, want: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files of one second are read in the order of a counter that is no longer in order as text from 9 to 10.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    log = MetricsLog(tmp_path, loggers=["tensorboard"])
    for iteration in range(5):
        log.write(10 * iteration, {"iteration": float(iteration), "train/loss": float(iteration)})
    log.close()
    log = MetricsLog(tmp_path, loggers=["tensorboard"], keep_until=keep_until)
    log.write(30, {"iteration": 3.0, "train/loss": -3.0})
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == want
    assert [(record["calls"], record["train/loss"]) for record in read_metrics(tmp_path)] == want


def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(1, {"iteration": 1.0})
    with files_no_larger_than(30), pytest.raises(TrainingError, match=r"cannot write .*metrics.jsonl"):
        log.write(2, {"iteration": 2.0})
    assert [record["calls"] for record in read_metrics(tmp_path)] == [1]


def test_annealed_learning_rates_fall_to_nothing_over_the_calls_of_the_run() -> None:
    run = trainer(bandit_config(anneal=True, calls=96, episodes=16, optim={"lr": 0.1}))
    rates = []
    while not run.over:
        run.iterate()
        rates.append(run._optimizer.adamw.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1 * 2 / 3, 0.1 / 3])  # 32 calls an iteration


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"algo": "ppo"}, "algo: 'ppo' is not known; choose one of steptool"),
        ({"calls": "many"}, "calls: .*'many'"),
        ({"algorithm": {"gama": 1}}, "algorithm.gama"),
        ({"algorithm": {"horizon": 1}}, "algorithm.horizon: there is no such setting"),
        ({"algorithm": {"advantage": "gea"}}, "algorithm.advantage='gea' is unknown: give one of gigpo, grpo"),
        ({"algo": "grpo", "episodes": 12}, "multiple of algorithm.group_size=8"),
        ({"policy": {"critic": "none"}}, "needs a critic"),
        ({"algorithm": {"advantage": "rloo"}}, "group_size of 2 or more"),
        ({"algo": "tree", "algorithm": {"branches": 0}}, "algorithm.branches=0 with algorithm.advantage=tree"),
        ({"algorithm": {"branches": 2}}, "algorithm.branches=2 with algorithm.advantage=step_gae"),
        ({"algo": "tree", "algorithm": {"branch_before": [0]}}, r"branch_before=\[0\] must be different calls, each 1"),
        ({"algo": "tree", "algorithm": {"reward_timing": "terminal_sum"}}, "terminal_sum is incompatible with"),
        ({"algo": "tree", "env": {"num_envs": 9}}, "env.num_envs=9: .* need 10, by algorithm.branches=3"),
        ({"shard": True, "rollout": {"engine": "static"}}, "shard=True is incompatible with"),
        ({"rollout": {"engine": "ray", "harness": "module:function"}}, "incompatible with rollout.engine=ray"),
        (
            {"rollout": {"engine": "ray", "max_staleness": 1}, "env": {"curriculum": 0.5}},
            "env.curriculum=0.5 is incompatible with rollout.max_staleness=1",
        ),
        ({"rollout": {"max_staleness": 1}}, "rollout.max_staleness and rollout.ray_address are of"),
        ({"algo": "archer", "policy": {"critic": "separate"}}, "its own critic .* set policy.critic=none"),
        ({"algorithm": {"advantage": "reinforce"}}, "advantage=reinforce reads no values.*; set policy.critic=none"),
        ({"algo": "grpo", "policy": {"critic": "detached"}}, "advantage=grpo reads no values.*set policy.critic=none"),
        ({"algo": "grpo", "critic_warmup": 2}, "critic_warmup=2 needs a critic; set it to 0"),
        ({"policy": {"critic": "detached"}, "shard": True}, "shard=True is incompatible with policy.critic=detached"),
        ({"rollout": {"engine": "gpu-2:8000"}}, "engine='gpu-2:8000' is unknown: .* like http://127.0.0.1:8000"),
        ({"calls": 0}, "calls=0 must be 1 or more"),
        ({"algorithm": {"group_size": 0}}, r"algorithm\.group_size=0 must be 1 or more"),
        ({"optim": {"lr": math.nan}}, "lr=nan must be 0 or more"),
        ({"algorithm": {"gamma": 99}}, r"algorithm\.gamma=99\.0 must be 1 or less"),
        ({"algorithm": {"gae_lambda": math.nan}}, r"algorithm\.gae_lambda=nan must be 0 or more"),
        ({"algorithm": {"kl_coef": -0.1}}, r"algorithm\.kl_coef=-0\.1 must be 0 or more"),
        ({"env": {"curriculum": 30}}, r"env\.curriculum=30\.0 must be 1 or less"),
        ({"seed": -1}, "seed=-1 must be 0 or more"),
        ({"optim": {"lr": -1.0}}, r"optim\.lr=-1\.0 must be 0 or more"),
    ],
)
def test_wrong_settings_name_their_field(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make_config(settings)


def test_a_file_overrides_the_algorithm_and_the_caller_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("algo: final\nepisodes: 32\nenv:\n  args: {split: train, level: lite}\nalgorithm: {gamma: 0.5}\n")
    config = read_config(path, {"seed": 3, "algorithm": {"clip_coef": 0.1}})
    assert config.env.reward == "final"
    assert (config.episodes, config.seed, config.algorithm.gamma, config.algorithm.clip_coef) == (32, 3, 0.5, 0.1)
    assert config.env.args == {"split": "train", "level": "lite"}
    path.write_text("env: {nmu_envs: 4}")
    with pytest.raises(ConfigurationError, match=r"env\.nmu_envs: there is no such setting \(got 4\); .*--help-all"):
        read_config(path)
    path.write_text("episode: 4")
    with pytest.raises(ConfigurationError, match=r"^episode: there is no such setting \(got 4\); --help lists them$"):
        read_sft_config(path)  # of `steptool sft`, which has no --help-all
    path.write_text("- a list")
    with pytest.raises(ConfigurationError, match="expected `field: value` lines"):
        read_config(path)
