"""Supervised fine-tuning: only actions are learnt, and learnt they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.cli import main
from agents.errors import ConfigurationError
from agents.evaluation.evaluate import Evaluation, tasks_of
from agents.models import checkpoint
from agents.models.bundle import load_policy
from agents.models.chat_template import PlainCodec
from agents.models.config import PolicyConfig
from agents.models.tokenizer import train_tokenizer
from agents.rollout.types import TokenEpisode
from agents.training import sft
from agents.training.batch import collate
from agents.training.config import OptimConfig
from agents.training.forward import evaluate_actions
from agents.training.sft import (
    Lengths,
    build_sft_policy,
    copying_episodes,
    distinct,
    encode_trajectory,
    encode_turns,
    make_demonstrations,
    run_sft,
    schedule,
    train_sft,
)
from agents.training.sft_config import SFTConfig, SFTRunConfig, read_sft_config
from steptool_env.env import ToolEnv
from steptool_env.errors import DataError
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Trajectory
from tests.agents.bandit import RIGHT, blind_demonstrations, bundle
from tests.steptool_env.toys import ANSWER, COUNT, ToySuite, Unreachable, play, toy_config, toy_env


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["sft", "--sft.epochs", "0"], "sft.epochs=0 must be 1 or more"),
        (["sft", "--sft.batch-episodes", "0"], "sft.batch_episodes=0 must be 1 or more"),
        (["sft", "--sft.optim.lr", "-1"], "sft.optim.lr=-1.0 must be 0 or more"),
        (["eto", "--preference.batch-pairs", "0"], "preference.batch_pairs=0 must be 1 or more"),
        (["eto", "--preference.beta", "0"], "preference.beta=0.0 must be more than 0"),
        (["eto", "--preference.beta", "nan"], "preference.beta=nan must be more than 0"),
        (["eto", "--per-task", "-1"], "--per-task -1: must be 1 or more"),
    ],
)
def test_numbers_that_teach_nothing_are_named(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = ["--trajectories", "played.jsonl"] if flags[0] == "eto" else []
    with pytest.raises(SystemExit):
        main([*flags, *read, "--policy.checkpoint", "nano-sft", "--out", str(tmp_path / "out")])
    assert words in capsys.readouterr().err


def test_a_number_in_a_file_that_teaches_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text("sft: {batch_episodes: 0}")
    with pytest.raises(ConfigurationError, match=r"sft\.batch_episodes=0 must be 1 or more"):
        read_sft_config(tmp_path / "sft.yaml")


def test_a_policy_learns_what_is_demonstrated(learning_seed: int) -> None:
    made = bundle("none", learning_seed)
    shown = [
        encode_turns(made.codec, made.codec.encode_prompt(case, {}), [(right[0], "ok"), (right[1], "ok")], (0.5, 0.5))
        for case, right in RIGHT.items()
    ]
    seen: list[tuple[int, int]] = []
    config = SFTConfig(epochs=40, batch_episodes=2, seed=learning_seed, optim=OptimConfig(lr=1e-2))
    loss = train_sft(made, shown, config, lambda step, total, _: seen.append((step, total)))
    assert loss < 0.05
    assert seen == [(i + 1, 40) for i in range(40)]
    batch = collate(shown, 0)
    assert (evaluate_actions(made.policy, batch, "log_prob", 1000)[batch.mask].exp() > 0.9).all()


def test_demonstrations_end_with_the_stop_token_and_drop_the_last_answer() -> None:
    made = bundle("none")
    episode = encode_turns(
        made.codec, made.codec.encode_prompt("x", {}), [("a", "ok"), ("c", "never read")], (0.0, 1.0)
    )
    assert episode.ids[-1] == made.codec.stop_id
    assert [made.codec.decode_action(episode.ids[a:b]).strip() for a, b in episode.spans] == ["a", "c"]


@pytest.mark.parametrize("observation", ["budget", "toolbench"])
def test_a_recorded_episode_is_learnt_after_the_prompt_that_was_played(observation: str) -> None:
    env = toy_env(observation=observation)
    text, info = env.reset(seed=0)
    *_, last = play(env, [COUNT, ANSWER])
    codec = PlainCodec(train_tokenizer([text], 300))
    episode = encode_trajectory(codec, last.info["trajectory"])
    assert list(episode.ids[: episode.spans[0][0]]) == codec.encode_prompt(text, info)


def toy_episode(**changes: Any) -> Trajectory:
    env = toy_env(**changes)
    env.reset(seed=0)
    trajectory: Trajectory = play(env, [COUNT, ANSWER])[-1].info["trajectory"]
    return trajectory


def test_an_episode_that_was_lost_before_its_first_step_teaches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = ToolEnv(ToySuite(), toy_config(), Unreachable())
    env.reset(seed=1)
    lost = env.step(COUNT)[-1]["trajectory"]
    write_trajectories(path := tmp_path / "played.jsonl", [lost, toy_episode()])
    words = ["sft", "--demonstrations", str(path), "--policy.checkpoint", "nano-sft", "--sft.batch-episodes", "1"]
    main([*words, "--sft.epochs", "1", "--out", str(tmp_path / "out"), "--json"])
    assert json.loads(capsys.readouterr().out)["demonstrations"] == 1


def test_a_recording_without_its_settings_is_refused_with_a_remedy() -> None:
    bare = replace(toy_episode(), metadata={"format": "react"})
    with pytest.raises(DataError, match=r"'toy-\d': its metadata has no prompt, call_budget, .* `steptool evaluate`"):
        encode_trajectory(bundle("none").codec, bare)


def test_equal_demonstrations_count_once() -> None:
    episodes = blind_demonstrations(bundle("none").codec)  # type: ignore[arg-type]
    assert len(distinct([*episodes, *episodes])) == len(episodes)


def test_the_rate_rises_and_falls_to_a_tenth() -> None:
    rates = [schedule(step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2 * (i + 1) for i in range(5)])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no demonstrations"):
        train_sft(bundle("none"), [], SFTConfig())


def test_training_is_reproducible() -> None:
    results = []
    for _ in range(2):
        made = bundle("none")
        train_sft(made, blind_demonstrations(made.codec), SFTConfig(epochs=2, batch_episodes=8))  # type: ignore[arg-type]
        results.append(torch.cat([p.flatten() for p in made.policy.parameters()]))
    assert torch.equal(*results)


def test_what_follows_the_first_token_of_a_chunk_stood_after_that_token_before() -> None:
    for episode in copying_episodes(300, 20, seed=3, chunks=5):
        first_copied = episode.spans[0][0] - 1
        seen = episode.ids[:first_copied]
        for start, end in episode.spans:
            chunk = episode.ids[start - 1 : end]
            assert any(seen[at : at + len(chunk)] == chunk for at in range(len(seen)))
        assert min(episode.ids) >= 3
        assert max(episode.ids) < 300


def test_the_same_seed_gives_the_same_exercises_and_another_seed_others() -> None:
    first, again, other = (list(copying_episodes(300, 4, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_policy_that_has_learnt_something_is_not_made_to_copy_random_tokens(tmp_path: Path) -> None:
    config = SFTRunConfig(copying=16, policy=PolicyConfig(checkpoint="somewhere", critic="none"))
    with pytest.raises(ConfigurationError, match=r"copying=16: .* would spoil somewhere"):
        run_sft(config, [], tmp_path)


def test_by_default_a_suite_of_few_tasks_is_demonstrated_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SFTRunConfig(env_args={"split": "depth-1", "tools": 14})
    whole = len(tasks_of(Evaluation(config.env, config.env_args)))
    assert len(make_demonstrations(config)) == whole
    monkeypatch.setattr(sft, "_EPISODES", 5)
    assert len(make_demonstrations(config)) == 5
    with pytest.raises(ConfigurationError, match=rf"episodes={whole + 1}: .* has {whole} tasks"):
        make_demonstrations(replace(config, episodes=whole + 1))


def test_a_longer_context_reaches_the_checkpoint_and_changes_nothing_within_the_old_one(tmp_path: Path) -> None:
    """Rotary positions have no table, so a decoder from scratch reads on where its context ended."""
    config = PolicyConfig(checkpoint="nano-sft", critic="none", context=1600)
    shipped, longer = load_policy("nano-sft"), build_sft_policy([], config)
    assert (shipped.context, longer.context) == (1024, 1600)
    short, long = (list(range(3, 3 + size)) for size in (40, 1500))
    for ids in (short, long):
        episode = TokenEpisode(tuple(ids), ((len(ids) - 9, len(ids)),), (0.0,) * 9, (0.0,))
        before, after = (
            evaluate_actions(each.policy, collate([episode], 0), "log_prob", 2048) for each in (shipped, longer)
        )
        assert torch.equal(before, after)
    checkpoint.save(tmp_path / "saved", longer.policy, longer.tokenizer)
    assert load_policy(tmp_path / "saved").context == 1600
    assert build_sft_policy([], replace(config, context=512)).context == 512
    adapted = build_sft_policy([], replace(config, lora_rank=2))
    assert adapted.context == 1024  # a checkpoint of adapters does not have the base model's settings


def test_the_remedy_for_long_demonstrations_is_one_that_the_model_allows() -> None:
    assert Lengths(3, 1, 1500, 1024).remedy == "Give --policy.context 1500"
    pretrained = Lengths(3, 1, 1500, 1024, limit=2048, is_pretrained=True)
    assert pretrained.remedy == "Give --policy.context 1500"
    assert pretrained._replace(longest=3000).remedy.startswith("The model has a context of at most 2,048 tokens")
