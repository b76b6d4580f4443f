"""Pretrained models: a folder with a chat template, low-rank adapters, recomputed activations, half precision."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from agents.cli import main
from agents.errors import CheckpointError, ConfigurationError, ModelError
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle, build_policy, load_policy
from agents.models.chat_template import ChatCodec
from agents.models.config import PolicyConfig
from agents.models.decoder import lora_rank
from agents.rollout.collector import EpisodeSpec
from agents.rollout.types import TokenEpisode
from agents.training.batch import collate
from agents.training.config import TrainConfig
from agents.training.forward import evaluate_actions, forward
from agents.training.losses import ppo_loss
from agents.training.optimizer import PolicyOptimizer
from agents.training.trainer import OnlineTrainer
from tests.agents.bandit import assert_same_weights, bandit_config, bandits, weights
from tests.agents.conftest import TASKS
from tests.agents.models.pretrained import chat_tokenizer, gpt2_folder, llama_folder
from tests.agents.rollout.test_collector import collected
from tests.agents.training.test_losses import assert_close, gradients, prepared

Settings = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama_folder(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt2_folder(tmp_path_factory.mktemp("gpt2"))


def config_of(folder: Path, algo: str = "steptool", optim: Settings | None = None, **policy: Any) -> TrainConfig:
    trunk = "separate" if algo == "steptool" else "none"
    return bandit_config(
        algo=algo,
        iterations=4,
        episodes=8,
        policy={"model": str(folder), "critic": trunk, "context": 256, **policy},
        optim={"lr": 1e-2, "value_lr": 1e-2, **(optim or {})},
        sampling={"max_action_tokens": 4},
    )


def trainer(config: TrainConfig) -> OnlineTrainer:
    return OnlineTrainer(config, build_policy(config.policy, seed=config.seed), bandits(4))


def played(made: PolicyBundle, count: int = 6) -> list[TokenEpisode]:
    """Episodes of the bandit, whose rewards differ so that there is something to learn."""
    specs = [EpisodeSpec(s) for s in range(count)]
    rollout = collected(bandits(4), made, specs, context=256, max_action_tokens=4)
    return [replace(episode, rewards=(0.1 * row, 1.0)) for row, episode in enumerate(rollout.episodes)]


def loss_of(made: PolicyBundle, episodes: list[TokenEpisode], config: TrainConfig) -> Tensor:
    """The loss with its gradient, as an update takes it."""
    batch = prepared(made.policy, episodes, config.algorithm, made.codec.pad_id)
    made.policy.zero_grad()
    with made.policy.learning():
        loss = ppo_loss(forward(made.policy, batch), batch, config.algorithm)["loss"] / batch.action_tokens
        loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


# The model.


def test_a_folder_with_a_chat_template_is_a_policy_that_says_what_the_model_says(folder: Path) -> None:
    made = build_policy(PolicyConfig(model=str(folder), context=0))
    assert isinstance(made.codec, ChatCodec)
    assert made.context == 4096
    ids = torch.tensor([made.codec.encode_prompt("How warm is it?", {})])
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(made.policy.output_layer(made.policy.hidden(ids)), model(ids).logits)


def test_a_tokenizer_without_a_pad_token_pads_with_its_stop_token(folder: Path) -> None:
    made = build_policy(PolicyConfig(model=str(folder)))
    assert made.tokenizer.pad_token_id is None
    assert made.codec.pad_id == made.codec.stop_id == made.tokenizer.eos_token_id
    run = trainer(config_of(folder))
    assert np.isfinite(run.update(played(run.bundle))["train/loss"])


@pytest.mark.parametrize(("template", "words"), [(None, "no chat template"), ("hello", "cannot grow by appending")])
def test_a_template_that_is_missing_or_useless_is_a_clear_error(
    template: str | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=words):
        build_policy(PolicyConfig(model=str(llama_folder(tmp_path, template))))


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot load the model '.*nothing'"):
        build_policy(PolicyConfig(model=str(tmp_path / "nothing")))


# Low-rank adapters.


@pytest.mark.parametrize("algo", ["steptool", "grpo"])
def test_only_adapters_and_the_value_head_are_trained(folder: Path, algo: str) -> None:
    run = trainer(config_of(folder, algo, lora_rank=2))
    before = weights(run)
    run.update(played(run.bundle))
    moved = {name for name, tensor in weights(run).items() if not np.array_equal(tensor, before[name])}
    assert any("lora_" in name for name in moved)
    assert all("lora_" in name or name.startswith("value_head.") for name in moved)
    assert any(name.startswith("value_head.") for name in moved) == (algo == "steptool")


def test_fresh_adapters_change_nothing_and_follow_from_the_seed(folder: Path) -> None:
    plain = build_policy(PolicyConfig(model=str(folder)))
    adapted = build_policy(PolicyConfig(model=str(folder), lora_rank=2), seed=3)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(adapted.policy.hidden(ids), plain.policy.hidden(ids))
    again, other = (build_policy(PolicyConfig(model=str(folder), lora_rank=2), seed=seed) for seed in (3, 4))
    want = adapted.policy.state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in again.policy.state_dict().items())
    assert not all(torch.equal(tensor, want[name]) for name, tensor in other.policy.state_dict().items())


def test_adapters_of_a_model_in_half_precision_are_in_single(folder: Path) -> None:
    made = build_policy(PolicyConfig(model=str(folder), lora_rank=2, dtype="bfloat16", critic="none"))
    kinds = {("lora_" in name, p.dtype) for name, p in made.policy.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("algo", ["steptool", "grpo"])
def test_a_run_with_adapters_resumes_to_the_same_numbers(folder: Path, tmp_path: Path, algo: str) -> None:
    config = config_of(folder, algo, lora_rank=2)
    unbroken, first = trainer(config), trainer(config)
    unbroken.run()
    for _ in range(2):
        first.iterate()
    first.save(tmp_path / "c")
    second = trainer(config)
    second.resume(tmp_path / "c")
    second.run()
    assert_same_weights(second, weights(unbroken))


def test_a_checkpoint_with_adapters_acts_as_the_policy_that_was_saved(folder: Path, tmp_path: Path) -> None:
    run = trainer(config_of(folder, lora_rank=2))
    run.update(played(run.bundle))
    run.save(tmp_path / "c")
    loaded = load_policy(tmp_path / "c")
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.policy.hidden(ids), run.bundle.policy.hidden(ids))
    plain = build_policy(PolicyConfig(model=str(folder)))
    assert not torch.equal(loaded.policy.hidden(ids), plain.policy.hidden(ids))
    onward = build_policy(PolicyConfig(checkpoint=str(tmp_path / "c"), critic="none"))
    assert [n for n, p in onward.policy.named_parameters() if p.requires_grad and "lora_" not in n] == []
    with pytest.raises(CheckpointError, match=r"has adapters of rank 2, not policy.lora_rank=4"):
        build_policy(PolicyConfig(checkpoint=str(tmp_path / "c"), lora_rank=4))


def test_transformers_loads_a_checkpoint_with_adapters(folder: Path, tmp_path: Path) -> None:
    run = trainer(config_of(folder, lora_rank=2))
    run.update(played(run.bundle))
    run.save(tmp_path / "c")
    ids = torch.tensor([[5, 6, 7]])
    want = run.bundle.policy.language_model(ids).logits
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "c")(ids).logits, want)
    assert not (tmp_path / "c" / "model.safetensors").exists()


def test_adapters_belong_to_their_base_model(folder: Path, tmp_path: Path) -> None:
    made, other = (build_policy(PolicyConfig(model=str(folder), critic="none")) for _ in range(2))
    checkpoint.save(tmp_path / "base", made.policy, made.tokenizer)
    adapted = build_policy(PolicyConfig(checkpoint=str(tmp_path / "base"), lora_rank=2, critic="none"))
    checkpoint.save(tmp_path / "c", adapted.policy, adapted.tokenizer)
    load_policy(tmp_path / "c")
    next(other.policy.parameters()).data += 1
    checkpoint.save(tmp_path / "base", other.policy, other.tokenizer)
    with pytest.raises(CheckpointError, match=r"base, the base model of its adapters, is missing or has other weights"):
        load_policy(tmp_path / "c")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"is missing or has other weights"):
        load_policy(tmp_path / "c")


def test_adapters_need_weights_to_adapt() -> None:
    with pytest.raises(ConfigurationError, match=r"policy.lora_rank=2: adapters need weights to adapt"):
        build_policy(PolicyConfig(model="nano", lora_rank=2), chat_tokenizer())


def test_a_checkpoint_without_adapters_can_be_given_some(folder: Path, tmp_path: Path) -> None:
    made = build_policy(PolicyConfig(model=str(folder), critic="none"))
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    adapted = build_policy(PolicyConfig(checkpoint=str(tmp_path / "c"), lora_rank=2))
    ids = torch.tensor([[5, 6, 7]])
    assert lora_rank(adapted.policy.language_model) == 2
    assert torch.equal(adapted.policy.hidden(ids), made.policy.hidden(ids))


# Recomputed activations.


def forward_passes(policy: nn.Module) -> list[int]:
    """A count that grows with every pass through the first feed-forward block."""
    block = next(module for name, module in policy.named_modules() if name.endswith(".mlp"))
    passes: list[int] = []
    block.register_forward_pre_hook(lambda *_: passes.append(1))  # the second pass stops before its end
    return passes


@pytest.mark.parametrize(("kind", "lora_rank"), [("folder", 0), ("folder", 2), ("dropping", 0)])
def test_recomputing_activations_leaves_the_gradient_as_it_is(
    kind: str, lora_rank: int, request: pytest.FixtureRequest
) -> None:
    where = request.getfixturevalue(kind)
    found: list[tuple[Tensor, dict[str, Tensor], int]] = []
    for recompute in (False, True):
        config = config_of(where, gradient_checkpointing=recompute, lora_rank=lora_rank, dtype="float64")
        made = build_policy(config.policy)
        episodes, passes = played(made), forward_passes(made.policy)
        loss = loss_of(made, episodes, config)
        found.append((loss, gradients(made.policy), len(passes)))
    (loss, plain, few), (again, recomputed, many) = found
    torch.testing.assert_close(again, loss, atol=1e-12, rtol=0)
    assert_close(recomputed, plain, atol=1e-12)
    assert any(bool(gradient.abs().max() > 0) for gradient in plain.values())
    assert many > few  # the negative control: layers in evaluation mode would never be computed again


def test_a_policy_that_recomputes_samples_with_its_cache_all_the_same(folder: Path) -> None:
    plain, saving = (played(build_policy(config_of(folder, gradient_checkpointing=on).policy)) for on in (False, True))
    assert plain == saving


def test_there_is_no_dropout_in_training(dropping: Path) -> None:
    """The sampler has none, so the trainer must not: else the first update's ratio is not 1."""
    made = build_policy(PolicyConfig(model=str(dropping), gradient_checkpointing=True))
    episodes = played(made)
    batch = collate(episodes, made.codec.pad_id)
    with made.policy.learning():
        ratio = (forward(made.policy, batch)["log_prob"] - batch.old_log_prob)[batch.mask].exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)


def test_a_checkpoint_of_a_model_with_dropout_acts_without_it(dropping: Path, tmp_path: Path) -> None:
    made = build_policy(PolicyConfig(model=str(dropping), critic="none"))
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(load_policy(tmp_path / "c").policy.hidden(ids), made.policy.hidden(ids))


# Half precision.


def test_half_precision_keeps_the_positions_of_the_model(folder: Path, tmp_path: Path) -> None:
    """Rotary frequencies rounded to bfloat16 are other positions, far from the start."""
    ids = torch.arange(3000)[None] % 200
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    made = build_policy(PolicyConfig(model=str(folder), dtype="bfloat16", critic="none", context=0))
    assert torch.equal(made.policy.output_layer(made.policy.hidden(ids)), model(ids).logits)
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    again = build_policy(PolicyConfig(checkpoint=str(tmp_path / "c"), dtype="bfloat16", critic="none"))
    assert torch.equal(again.policy.hidden(ids), made.policy.hidden(ids))


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"dtype": "bfloat16", "lora_rank": 2}])
def test_sampler_and_trainer_nearly_agree_in_half_precision(folder: Path, change: Settings) -> None:
    made = build_policy(config_of(folder, **change).policy)
    batch = collate(played(made), made.codec.pad_id, dtype=made.policy.score_dtype)
    ratio = (evaluate_actions(made.policy, batch, "log_prob", 1000) - batch.old_log_prob)[batch.mask].exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=0.05, rtol=0)


def first_step(folder: Path, episodes: list[TokenEpisode], **settings: Any) -> tuple[dict[str, float], PolicyBundle]:
    """Metrics of one optimiser step on given episodes."""
    config = config_of(folder, **settings)
    made = build_policy(config.policy)
    batch = prepared(made.policy, episodes, config.algorithm, made.codec.pad_id)
    optimizer = PolicyOptimizer(made.policy, config.optim)
    return optimizer.step(batch, lambda micro: ppo_loss(forward(made.policy, micro), micro, config.algorithm)), made


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"dtype": "mixed"}])
def test_half_precision_nearly_gives_the_loss_and_a_finite_update(folder: Path, change: Settings) -> None:
    episodes = played(build_policy(PolicyConfig(model=str(folder))), 8)
    exact, _ = first_step(folder, episodes)
    rough, made = first_step(folder, episodes, **change)
    for name in ("loss", "value_loss", "entropy", "grad_norm"):
        assert rough[name] == pytest.approx(exact[name], rel=0.05, abs=0.01), name
        assert rough[name] != exact[name] or name == "value_loss", name
    assert all(bool(parameter.isfinite().all()) for parameter in made.policy.parameters())


def test_autocast_leaves_the_weights_in_single_precision(folder: Path) -> None:
    run = trainer(config_of(folder, dtype="mixed"))
    run.iterate()
    assert {parameter.dtype for parameter in run.bundle.policy.parameters()} == {torch.float32}


# All of it at once.


def test_a_pretrained_model_is_trained_resumed_and_evaluated(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--policy.model", str(folder), "--policy.lora-rank", "2", "--policy.dtype", "bfloat16"]
    flags += ["--policy.gradient-checkpointing", "--policy.context", "4096", "--sampling.max-action-tokens", "4"]
    flags += ["--env-args", *TASKS, "--env.num-envs", "4", "--episodes", "4", "--eval-every", "0", "--out", str(out)]
    main(["train", "--calls", "8", *flags])  # 4 episodes of 2 calls
    main(["train", "--calls", "16", "--resume", *flags])
    newest = checkpoint.newest(out)
    assert newest == out / "checkpoint-2"
    evaluate = ["--env", "StepTool/ToolWorld-v0", "--env-args", "split=validation", "call_budget=2", "--episodes", "2"]
    agent = ["--agent", f"policy:{newest}", "--agent-args", "max_action_tokens=4"]
    main(["evaluate", *evaluate, *agent, "--out", str(tmp_path / "evaluation")])
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["calls"] == 2.0
