"""The oracle solves every task of every split and level, at the best return there is."""

import json

import pytest

import steptool_env  # noqa: F401 - registers the environments
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.rewards import make_reward
from steptool_env.toolworld import SPLITS
from tests.toolserver.world.worlds import LEVELS, rewards, solve, suite

TOOLWORLD = "StepTool/ToolWorld-v0"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_oracle_solves_every_task_at_a_return_of_one(split: str, level: str) -> None:
    reward = make_reward("progress")
    for index in range(8):
        task = suite(split, level).task(index)
        assert sum(rewards(reward, task, solve(task))) == pytest.approx(1.0), task.query


@pytest.mark.parametrize("split", ["train", "G3_instruction", "unsolvable"])
def test_the_oracle_solves_tasks_in_the_environment(split: str) -> None:
    played = evaluate(Evaluation(TOOLWORLD, {"split": split}, episodes=60), make_agent("oracle"))
    assert [each.metadata["outcome"]["is_solved"] for each in played] == [1.0] * 60


@pytest.mark.parametrize(("faults", "least"), [("mild", 0.95), ("harsh", 0.85)])
def test_the_oracle_gets_along_with_faults(faults: str, least: float) -> None:
    settings = {"split": "G2_instruction", "faults": faults, "call_budget": 30}
    played = evaluate(Evaluation(TOOLWORLD, settings, episodes=80), make_agent("oracle"))
    assert sum(each.metadata["outcome"]["is_solved"] for each in played) / 80 >= least
    injected = [step for each in played for step in each.steps if step.provenance == "injected"]
    assert injected
    assert all(json.loads(step.body)["error"] for step in injected)


@pytest.mark.parametrize("split", [name for name in SPLITS if name != "train"])
def test_guessing_does_not_pay(split: str) -> None:
    episodes = 40 if split in ("depth-5", "depth-6") else 120  # these two take long to generate
    for agent in ("random", "no-tools"):
        played = evaluate(Evaluation(TOOLWORLD, {"split": split}, episodes=episodes), make_agent(agent))
        assert sum(each.metadata["outcome"]["is_solved"] for each in played) / len(played) < 0.01, agent
