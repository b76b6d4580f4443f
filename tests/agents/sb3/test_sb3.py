"""Stable-Baselines3 on the numeric form: it learns, it is saved and loaded, and it plays in text."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.wrappers import TransformAction
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.cli import main
from agents.errors import CheckpointError, ConfigurationError
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of
from agents.registry import make_agent
from agents.sb3.agent import random_candidates
from agents.sb3.config import SB3Settings
from agents.sb3.policy import ScoringPolicy
from agents.sb3.train import agent_of, load, train
from steptool_env.discrete import DiscreteToolEnv
from steptool_env.envs.toolworld import ToolWorldEnv
from tests.steptool_env.toys import Unreachable

SHALLOW = {"depths": {"1": 1, "2": 1}, "unsolvable": 0.0}
SHORT = {"total_steps": 256, "num_envs": 2, "n_steps": 64, "batch_size": 64, "n_epochs": 1}


def pass_rate(agent: object, split: str, episodes: int = 100) -> float:
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": split}, episodes)
    return metrics_of(evaluate(evaluation, agent))["pass_rate"]  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["ppo", "maskable-ppo"])
def test_a_saved_policy_plays_in_text_as_the_one_that_was_trained(algorithm: str, tmp_path: Path) -> None:
    model = train(SB3Settings(algorithm, seed=1, **SHORT))  # type: ignore[arg-type]
    model.save(tmp_path / "model.zip")
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "validation"}, episodes=8)
    ours = evaluate(evaluation, agent_of(model))
    loaded = evaluate(evaluation, make_agent(f"sb3:{tmp_path / 'model.zip'}"))
    assert [t.steps for t in ours] == [t.steps for t in loaded]
    assert type(load(tmp_path / "model.zip")) is type(model)


def test_the_same_settings_give_the_same_policy() -> None:
    one, two = (train(SB3Settings(**SHORT)).policy.state_dict() for _ in range(2))  # type: ignore[arg-type]
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value.numpy(), two[name].numpy())


def test_an_empty_slot_is_never_chosen() -> None:
    model = train(SB3Settings("ppo", **SHORT))  # type: ignore[arg-type]
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "validation"}, episodes=10)
    trajectories = evaluate(evaluation, agent_of(model))
    assert all(step.action.name for trajectory in trajectories for step in trajectory.steps)


def test_the_order_of_candidates_does_not_matter() -> None:
    """The scorer sees each candidate alone, so logits move with their candidates and the value stays."""
    from agents.sb3.policy import CandidateScorer
    from steptool_env.discrete.features import CONTEXT, FEATURES
    from steptool_env.discrete.view import CANDIDATES

    generator = torch.Generator().manual_seed(0)
    candidates = torch.rand(3, CANDIDATES, FEATURES, generator=generator)
    context = torch.rand(3, CONTEXT, generator=generator)
    mask = (torch.rand(3, CANDIDATES, generator=generator) > 0.5).float()
    order = torch.randperm(CANDIDATES, generator=generator)
    scorer = CandidateScorer(16)
    logits, value = scorer(torch.cat([candidates.flatten(1), context, mask], dim=1))
    moved, same = scorer(torch.cat([candidates[:, order].flatten(1), context, mask[:, order]], dim=1))
    torch.testing.assert_close(moved, logits[:, order])
    torch.testing.assert_close(same, value)


def test_random_candidates_depend_on_seed_and_task_alone() -> None:
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "validation"}, episodes=10, slots=1)
    wide = Evaluation("StepTool/ToolWorld-v0", {"split": "validation"}, episodes=10, slots=7)
    one = [t.steps for t in evaluate(evaluation, random_candidates())]
    assert one == [t.steps for t in evaluate(wide, random_candidates())]
    assert one != [t.steps for t in evaluate(evaluation, random_candidates(seed=1))]


def test_guessing_among_candidates_does_not_pay_much() -> None:
    assert pass_rate(random_candidates(), "depth-1") < 0.2
    assert pass_rate(random_candidates(), "depth-2") < 0.1


def test_bad_settings_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="algorithm='sac'"):
        SB3Settings("sac")
    with pytest.raises(ConfigurationError, match="num_envs=0"):
        SB3Settings(num_envs=0)
    with pytest.raises(ConfigurationError, match="unexpected keyword argument 'colour'"):
        train(SB3Settings(env_args={"colour": "red"}))
    with pytest.raises(CheckpointError, match="nothing"):
        load(tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(CheckpointError, match="text"):
        load(tmp_path / "text.zip")


def test_the_command_trains_evaluates_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sb3", "--out", str(tmp_path), "--env-args", 'depths={"1": 1}', "--total-steps", "128", "--num-envs", "2",
          "--n-steps", "64", "--n-epochs", "1", "--splits", "depth-1", "--episodes", "5"])  # fmt: skip
    assert "random-candidates" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "depth-1-maskable-ppo.json").read_text())
    assert 0 <= metrics["pass_rate"] <= 1
    assert metrics["panel"] == json.loads((tmp_path / "depth-1-random-candidates.json").read_text())["panel"]
    assert (tmp_path / "model.zip").is_file()
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["env_args"] == {"depths": {"1": 1}}
    trained = (tmp_path / "model.zip").read_bytes()
    with pytest.raises(SystemExit):
        main(["sb3", "--out", str(tmp_path), "--total-steps", "128"])
    assert "holds the result of another run (run.json)" in capsys.readouterr().err
    assert (tmp_path / "model.zip").read_bytes() == trained


@pytest.mark.parametrize("lost", [False, True], ids=["budget", "lost server"])
def test_the_trainer_bootstraps_after_a_lost_server_and_not_after_the_budget(
    lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stable-Baselines3 adds the discounted value of what follows to the reward of a step that was truncated."""
    text_env = ToolWorldEnv(call_budget=1)
    if lost:
        text_env.client = Unreachable()  # type: ignore[assignment]
    env = Monitor(TransformAction(DiscreteToolEnv(text_env), lambda _: 0, None))  # slot 0 is a call
    model = PPO(ScoringPolicy, DummyVecEnv([lambda: env]), n_steps=4, batch_size=4, seed=0, device="cpu")
    monkeypatch.setattr(model.policy, "predict_values", lambda _: torch.full((1, 1), 5.0))
    total, callback = model._setup_learn(4)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, total)
    added = model.rollout_buffer.rewards[:, 0] - env.get_episode_rewards()
    np.testing.assert_allclose(added, model.gamma * 5.0 if lost else 0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("algorithm", ["ppo", "maskable-ppo"])
def test_it_learns_depth_one_and_two_on_tasks_it_has_not_seen(algorithm: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent = agent_of(train(SB3Settings(algorithm, env_args=SHALLOW)))
    assert pass_rate(agent, "depth-1") > 0.8
    assert pass_rate(agent, "depth-2") > 0.8
