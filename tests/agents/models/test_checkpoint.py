"""Checkpoints: complete or absent, exact, and refused when they do not fit."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.errors import CheckpointError, ConfigurationError
from agents.models import checkpoint
from agents.models.bundle import load_policy
from agents.models.checkpoint import Counters
from agents.models.decoder import SHAPES, build_decoder
from agents.models.policy import Policy
from agents.training import resumption
from agents.training.archer import archer
from agents.training.config import make_config, merged
from agents.training.resumption import check_resumed
from tests.agents.bandit import assert_same_weights, bandit_config, bundle, llama, trainer, weights
from tests.agents.disk import files_no_larger_than
from tests.agents.models.pretrained import chat_tokenizer


@pytest.mark.parametrize("algo", ["steptool", "grpo", "archer"])
def test_a_resumed_run_reaches_the_same_numbers_as_an_unbroken_one(
    tmp_path: Path, algo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archer, "UPDATES", 4)
    config = bandit_config(algo=algo, iterations=6, episodes=32)
    unbroken = trainer(config)
    unbroken.run()
    first = trainer(config)
    for _ in range(3):
        first.iterate()
    first.save(tmp_path / "checkpoint-3")
    second = trainer(config, seed=5)  # other weights until it resumes
    second.resume(tmp_path / "checkpoint-3")
    second.run()
    assert second.counters == unbroken.counters
    assert_same_weights(second, weights(unbroken))


def test_a_checkpoint_acts_as_the_policy_that_was_saved(tmp_path: Path) -> None:
    made = bundle("separate")
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer, config={"algo": "steptool"})
    loaded = load_policy(tmp_path / "c")
    ids = torch.tensor([[3, 5, 7]])
    assert torch.equal(loaded.policy.hidden(ids), made.policy.hidden(ids))
    assert loaded.codec.encode_action("a") == made.codec.encode_action("a")
    assert loaded.context == 64
    assert checkpoint.load_config(tmp_path / "c") == {"algo": "steptool"}


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    made = bundle("none")
    for name, half in (("full", False), ("half", True)):
        checkpoint.save(tmp_path / name, made.policy, made.tokenizer, half=half)
    full, half_size = ((tmp_path / n / "model.safetensors").stat().st_size for n in ("full", "half"))
    assert half_size < 0.7 * full
    assert load_policy(tmp_path / "half").policy.dtype == torch.float32


def test_transformers_loads_a_checkpoint(tmp_path: Path) -> None:
    made = bundle("separate")
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    model, tokenizer = (kind.from_pretrained(tmp_path / "c") for kind in (AutoModelForCausalLM, AutoTokenizer))
    ids = torch.tensor([[3, 5, 7]])
    assert torch.equal(model(ids).logits, made.policy.language_model(ids).logits)
    assert tokenizer.get_vocab() == made.tokenizer.get_vocab()


def test_transformers_loads_the_shipped_checkpoint() -> None:
    folder = checkpoint.resolve_checkpoint("nano-sft")
    model, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    made = load_policy("nano-sft")
    ids = made.codec.encode_prompt("How warm is Lorvale?", {})
    assert ids[:-1] == tokenizer("How warm is Lorvale?")["input_ids"]
    hidden = made.policy.hidden(torch.tensor([ids]))
    assert torch.equal(model(torch.tensor([ids])).logits, made.policy.output_layer(hidden))


def test_a_value_head_with_its_trunk_comes_back(tmp_path: Path) -> None:
    made = bundle("separate")
    for parameter in (*made.policy.critic.parameters(), *made.policy.value_head.parameters()):  # type: ignore[union-attr]
        parameter.data += 1
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    other = bundle("separate", seed=3).policy
    checkpoint.load_weights(tmp_path / "c", other)
    want = made.policy.state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in other.state_dict().items())


def test_a_critic_that_the_checkpoint_lacks_starts_as_the_decoder(tmp_path: Path) -> None:
    made = bundle("none")
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    other = Policy(llama(seed=9), "separate")
    checkpoint.load_weights(tmp_path / "c", other)
    assert other.critic is not None
    for own, copied in zip(other.decoder.parameters(), other.critic.parameters(), strict=True):
        assert torch.equal(own, copied)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    made = bundle("none")
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    other = Policy(build_decoder(SHAPES["nano"], made.tokenizer, 64), "none")
    with pytest.raises(
        CheckpointError, match=r"of another model: .* should be \[11, 128\], the checkpoint has \[11, 32\]"
    ):
        checkpoint.load_weights(tmp_path / "c", other)


def test_a_checkpoint_of_a_deeper_model_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    made, deeper = bundle("none"), Policy(llama(1, num_hidden_layers=3), "none")
    before = [weight.detach().clone() for weight in made.policy.parameters()]
    checkpoint.save(tmp_path / "c", deeper, made.tokenizer)
    with pytest.raises(CheckpointError, match="should be nothing, the checkpoint has"):
        checkpoint.load_weights(tmp_path / "c", made.policy)
    assert all(torch.equal(a, b) for a, b in zip(before, made.policy.parameters(), strict=True))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "value_head.safetensors"])
def test_damage_is_noticed(tmp_path: Path, name: str) -> None:
    made = bundle("shared")
    checkpoint.save(tmp_path / "c", made.policy, made.tokenizer)
    path = tmp_path / "c" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load_weights(tmp_path / "c", made.policy)
    path.unlink()
    with pytest.raises(CheckpointError, match="incomplete"):
        checkpoint.load_weights(tmp_path / "c", made.policy)
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        checkpoint.load_weights(tmp_path / "nothing", made.policy)
    state = tmp_path / "c" / "trainer_state.json"
    state.write_text(state.read_text()[:-20])
    with pytest.raises(CheckpointError, match=r"not a complete checkpoint: trainer_state\.json"):
        checkpoint.load_weights(tmp_path / "c", made.policy)


def test_a_checkpoint_for_use_only_cannot_be_resumed(tmp_path: Path) -> None:
    run = trainer(bandit_config(iterations=1))
    checkpoint.save(tmp_path / "c", run.bundle.policy, run.bundle.tokenizer)
    with pytest.raises(CheckpointError, match="not for resumption"):
        run.resume(tmp_path / "c")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "tokenizer.json"])
def test_a_disk_that_fills_up_leaves_the_old_checkpoint(tmp_path: Path, name: str) -> None:
    run = trainer(bandit_config(iterations=1))
    run.iterate()
    policy = Policy(llama(hidden=4), "none")
    words = chat_tokenizer()

    def save(iteration: int) -> None:
        if name.startswith("tokenizer"):  # smaller weights, so that the tokenizer is what does not fit
            checkpoint.save(tmp_path / "c", policy, words, counters=Counters(iteration=iteration))
        else:
            run.counters = Counters(iteration=iteration)
            run.save(tmp_path / "c")

    save(1)
    before = contents(tmp_path / "c")
    with files_no_larger_than(len(before[name]) - 1), pytest.raises(CheckpointError, match=r"cannot write .*too large"):
        save(2)
    assert contents(tmp_path / "c") == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    save(2)
    assert checkpoint.load_counters(tmp_path / "c").iteration == 2


def test_the_optimiser_state_of_another_critic_is_refused(tmp_path: Path) -> None:
    run = trainer(bandit_config(iterations=1))
    run.run()
    run.save(tmp_path / "c")
    with pytest.raises(CheckpointError, match="another model, or of one with another critic"):
        checkpoint.load_optimizer(tmp_path / "c", trainer(bandit_config(algo="grpo"))._optimizer.adamw)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"algo": "final", "optim": {"lr": 1.0}}, r"algo='final', the run has 'steptool'; env.reward=.*optim.lr=1.0"),
        ({"env": {"args": {"level": "full"}}}, r"env.args.level='full', the run has None"),
        ({"optim": {"value_lr": 0.5}}, r"optim.value_lr=0.5, the run has 0.001"),
        ({"policy": {"checkpoint": "elsewhere"}}, r"policy.checkpoint='elsewhere', the run has ''"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    trainer(bandit_config(optim={"lr": 3e-3})).save(tmp_path / "c")
    run = trainer(bandit_config(**{"optim": {"lr": 3e-3}, **settings}))
    before = weights(run)
    with pytest.raises(ConfigurationError, match=words):
        run.resume(tmp_path / "c")
    assert_same_weights(run, before)


def test_a_run_with_settings_of_another_version_names_them_and_the_remedy(tmp_path: Path) -> None:
    run = trainer(bandit_config())
    checkpoint.save(tmp_path / "c", run.bundle.policy, run.bundle.tokenizer, config={"optim": {"momentum": 0.5}})
    words = r"optim.momentum: there is no such setting .* start another run from its weights with policy.checkpoint"
    with pytest.raises(ConfigurationError, match=words):
        run.resume(tmp_path / "c")


def test_every_setting_that_may_change_is_one(tmp_path: Path) -> None:
    trainer(bandit_config(iterations=1)).save(tmp_path / "c")
    arguments = {"args": {"server_url": "http://tools"}, "eval_args": {"server_url": "http://tools"}}
    values: dict[str, Any] = {
        "calls": 900,
        "out": str(tmp_path),
        "checkpoint_every": 7,
        "save_total_limit": 3,
        "eval_every": 5,
        "shard": True,
        "policy": {"device": "cuda", "gradient_checkpointing": True},
        "optim": {"max_tokens": 99},
        "env": {"num_envs": 3, **arguments},
        "rollout": {"engine": "http://gpu"},
    }
    check_resumed(make_config(merged(asdict(bandit_config(iterations=1)), values)), tmp_path / "c")
    known = resumption._flat(asdict(make_config({"env": arguments})))
    assert set(resumption.MAY_CHANGE) <= known.keys()


def test_learning_rates_that_fall_over_the_run_keep_its_length(tmp_path: Path) -> None:
    trainer(bandit_config(anneal=True, iterations=3)).save(tmp_path / "c")
    with pytest.raises(ConfigurationError, match="calls=512, the run has 384"):
        trainer(bandit_config(anneal=True, iterations=4)).resume(tmp_path / "c")


def test_divergence_is_measured_from_the_policy_that_the_run_began_with(tmp_path: Path) -> None:
    config = bandit_config(algorithm={"kl_coef": 0.1}, episodes=16)
    run = trainer(config)
    run.iterate()
    run.save(tmp_path / "c")
    with pytest.raises(CheckpointError, match="no longer holds the policy that the run started with"):
        trainer(config, seed=5).resume(tmp_path / "c")
    same = trainer(config)
    same.resume(tmp_path / "c")
    assert same.counters.iteration == 1


def test_the_newest_complete_checkpoint_is_found(tmp_path: Path) -> None:
    made = bundle("none")
    assert checkpoint.newest(tmp_path) is None
    for iteration in (2, 10):
        checkpoint.save(tmp_path / f"checkpoint-{iteration}", made.policy, made.tokenizer)
    (tmp_path / "checkpoint-11").mkdir()  # a crash before its first file
    assert checkpoint.newest(tmp_path) == tmp_path / "checkpoint-10"


def test_older_checkpoints_of_a_run_are_removed(tmp_path: Path) -> None:
    config = bandit_config(iterations=4, episodes=16, checkpoint_every=1, out=str(tmp_path), save_total_limit=2)
    trainer(config).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-4"]


@pytest.mark.parametrize("other", ["notes", ".hidden", "model/notes", "link"])
def test_a_checkpoint_takes_the_place_of_a_checkpoint_alone(other: str, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(checkpoint.resolve_checkpoint("nano-sft"), folder)
    checkpoint.check_place(folder)
    (folder / other).parent.mkdir(exist_ok=True)
    (folder / other).symlink_to(tmp_path) if other == "link" else (folder / other).write_text("kept")
    with pytest.raises(CheckpointError, match=f"other files, which a checkpoint would replace, as {other}; give anoth"):
        checkpoint.check_place(folder)


@pytest.mark.parametrize("other", ["notes", "model/notes", "trainer_state.json", "."])
@pytest.mark.parametrize("earlier", [True, False])
def test_files_that_come_while_a_policy_trains_are_kept(
    other: str, earlier: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check_place` has seen the folder before the training. A later training puts its own files aside, too."""
    made, folder = bundle("none"), tmp_path / "c"
    if earlier and other != ".":
        checkpoint.save(folder, made.policy, made.tokenizer)
    for number, kept in enumerate(("c-kept-1", "c-kept-2")):
        (folder / other).parent.mkdir(exist_ok=True, parents=True)
        if number and other == ".":
            shutil.rmtree(folder)
        (folder / other).write_text(f"kept {number}")
        checkpoint.save(folder, made.policy, made.tokenizer)
        assert (tmp_path / kept / other).read_text() == f"kept {number}"
        named = capsys.readouterr().err
        assert named.startswith(f"{folder} held other files")
        assert named.endswith(f" {tmp_path / kept}\n")
        assert f", as {other}; " in named or other in (".", "trainer_state.json")
        load_policy(folder)
        checkpoint.check_place(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "c-kept-1", "c-kept-2"]


def test_other_files_of_older_checkpoints_are_kept(tmp_path: Path) -> None:
    made = bundle("none")
    for iteration in (1, 2):
        checkpoint.save(tmp_path / f"checkpoint-{iteration}", made.policy, made.tokenizer, total_limit=1)
        (tmp_path / f"checkpoint-{iteration}" / "notes").write_text("kept")
    assert [path.name for path in (tmp_path / "checkpoint-1").iterdir()] == ["notes"]
    assert checkpoint.checkpoints(tmp_path) == [tmp_path / "checkpoint-2"]


def test_a_copy_of_a_checkpoint_under_another_name_is_no_checkpoint_of_the_run(tmp_path: Path) -> None:
    made = bundle("none")
    checkpoint.save(tmp_path / "checkpoint-1", made.policy, made.tokenizer)
    shutil.copytree(tmp_path / "checkpoint-1", tmp_path / "checkpoint-best")
    checkpoint.save(tmp_path / "checkpoint-2", made.policy, made.tokenizer, total_limit=1)
    assert checkpoint.checkpoints(tmp_path) == [tmp_path / "checkpoint-2"]
    load_policy(tmp_path / "checkpoint-best")


def test_a_limit_does_not_remove_the_checkpoint_that_was_just_written(tmp_path: Path) -> None:
    """A run that went on from an older one writes it before the newest."""
    made = bundle("none")
    for iteration in (40, 60, 30):
        checkpoint.save(tmp_path / f"checkpoint-{iteration}", made.policy, made.tokenizer, total_limit=2)
    assert tmp_path / "checkpoint-30" in checkpoint.checkpoints(tmp_path)


@pytest.mark.parametrize("text", ['{"epoch": 1}', '{"hashes": 1}', "{"])
def test_a_state_of_another_kind_is_a_file_as_others(text: str, tmp_path: Path) -> None:
    """The trainer of Transformers writes a file of the same name."""
    (tmp_path / "trainer_state.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"holds other files, .* as trainer_state\.json;"):
        checkpoint.check_place(tmp_path)


def test_a_checkpoint_is_named_by_its_folder_its_run_or_a_short_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = bundle("none")
    for iteration in (2, 10):
        checkpoint.save(tmp_path / f"checkpoint-{iteration}", made.policy, made.tokenizer)
    assert checkpoint.resolve_checkpoint(str(tmp_path / "checkpoint-2")) == tmp_path / "checkpoint-2"
    assert (checkpoint.resolve_checkpoint("nano-sft") / "model.safetensors").exists()
    assert capsys.readouterr().err == ""
    assert checkpoint.resolve_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert capsys.readouterr().err == f"{tmp_path}: taking its newest checkpoint, checkpoint-10\n"


def test_a_checkpoint_that_is_not_there_is_named_with_what_was_looked_for(tmp_path: Path) -> None:
    resolve = checkpoint.resolve_checkpoint
    with pytest.raises(
        CheckpointError, match=r"nano-stf is not a folder: give .* of a checkpoint or of a run, or nano-s"
    ):
        resolve("nano-stf")
    words = rf"{tmp_path} holds neither trainer_state.json nor checkpoint-\*/trainer_state.json"
    with pytest.raises(CheckpointError, match=words):
        resolve(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"{words}.* is given as policy.model"):
        resolve(tmp_path)


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    run = trainer(bandit_config(iterations=1))
    run.run()
    run.save(tmp_path / "c")
    names = sorted(str(p.relative_to(tmp_path / "c")) for p in (tmp_path / "c").rglob("*") if p.is_file())
    assert all(name.endswith((".json", ".safetensors", ".jinja", ".txt")) for name in names), names
    assert checkpoint.load_config(tmp_path / "c")["algo"] == "steptool"


@pytest.mark.parametrize("name", ["../outside.json", "/dev/zero", "a/../../outside.json"])
def test_a_state_that_names_files_outside_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    shutil.copytree(checkpoint.resolve_checkpoint("nano-sft"), tmp_path / "run")
    (tmp_path / "outside.json").write_text("{}")
    path = tmp_path / "run" / "trainer_state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "hashes": {**state["hashes"], name: "0" * 32}}))
    with pytest.raises(CheckpointError, match="a file outside of the checkpoint"):
        checkpoint.copy_for_use(tmp_path / "run", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_settings_for_others_have_no_place_of_a_machine_and_no_key() -> None:
    given = {
        "agent": "policy:/home/me/run", "cache": "~/cache", "runs": ["../../home/me/a", "./b"], "file": "file:/etc/x",
        "url": "http://10.0.0.7:8000", "api_key": "secret", "env": "StepTool/ToolWorld-v0", "model": "Qwen/Qwen3-0.6B",
        "hub": "hf://USER/NAME", "words": "a key api_key=secret stays out", "lr": 0.1, "split": "train",
    }  # fmt: skip
    text = json.dumps(checkpoint.without_places(given))
    for hidden in ("home", "etc", "10.0.0.7", "secret", "~"):
        assert hidden not in text
    for kept in ("StepTool/ToolWorld-v0", "Qwen/Qwen3-0.6B", "hf://USER/NAME", "0.1", "train", "policy:run"):
        assert kept in text
