"""Running agents through tasks, and what remains of a run."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import pytest

from agents.base import Agent
from agents.baselines.random import RandomAgent
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of, panel_of, write_metrics
from agents.options import read_options
from agents.registry import make_agent
from agents.training.sft import make_demonstrations
from agents.training.sft_config import SFTRunConfig
from steptool_env.errors import ConfigurationError
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Trajectory
from tests.agents.toy_env import TOYS, make_toys
from tests.steptool_env.toys import COUNT, CountingClient
from toolserver.testing import ServerProcess


@pytest.mark.parametrize("slots", [2, 5, 50])
def test_the_result_does_not_depend_on_how_many_run_side_by_side(slots: int) -> None:
    alone = evaluate(Evaluation(TOYS, slots=1), RandomAgent())
    assert evaluate(Evaluation(TOYS, slots=slots), RandomAgent()) == alone


def test_the_calls_of_a_round_travel_together() -> None:
    client = CountingClient()
    alone = evaluate(Evaluation(TOYS, slots=1), OneCall())
    assert evaluate(Evaluation(TOYS, {"client": client}, slots=4), OneCall()) == alone
    assert client.exchanges == [4] * 12 + [2] * 6  # ten episodes of six calls


class Overheard(gym.Wrapper[str, str, str, str]):
    """A wrapper of somebody else's, which takes part in every step."""

    heard: ClassVar[list[str]] = []

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        self.heard.append(action)
        return self.env.step(action)


def test_a_wrapper_sees_every_step_and_the_result_is_the_same() -> None:
    client, name = CountingClient(), "Toys/Overheard-v0"
    gym.register(name, entry_point=lambda **arguments: Overheard(make_toys(**arguments)))
    try:
        result = evaluate(Evaluation(name, {"client": client}, slots=4), OneCall())
    finally:
        del gym.registry[name]
    assert result == evaluate(Evaluation(TOYS), OneCall())
    assert Overheard.heard == [COUNT] * 60
    assert client.exchanges == [1] * 60


def test_toolworld_gives_the_same_bytes_in_process_and_over_http_with_any_slots(tmp_path: Path) -> None:
    def play(slots: int, **arguments: Any) -> bytes:
        evaluation = Evaluation("StepTool/ToolWorld-v0", {"faults": "mild", **arguments}, 20, slots)
        write_trajectories(tmp_path / "trajectories.jsonl", evaluate(evaluation, make_agent("greedy-docs")))
        return (tmp_path / "trajectories.jsonl").read_bytes()

    with ServerProcess(["--world", "0"]) as server:
        results = [play(1), play(7), play(1, server_url=server.url), play(20, server_url=server.url)]
    assert results == [results[0]] * 4


def test_episodes_come_in_the_tasks_order_as_they_end() -> None:
    reported: list[Trajectory] = []
    expected: list[int] = []
    result = evaluate(Evaluation(TOYS, slots=4, episodes=7), RandomAgent(), reported.append, expected.append)
    assert reported == result
    assert expected == [7]
    assert [trajectory.task.id for trajectory in result] == [f"toy-{index}" for index in range(7)]


def test_the_whole_suite_is_played_unless_asked_otherwise() -> None:
    assert len(evaluate(Evaluation(TOYS), RandomAgent())) == 10
    assert len(evaluate(Evaluation("StepTool/ToolWorld-v0", {"split": "depth-1"}, slots=200), RandomAgent())) == 400


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (Evaluation(TOYS, episodes=11), "episodes=11: .* has 10 tasks.*at most 10"),
        (Evaluation("StepTool/ToolWorld-v0", {"split": "train"}), "'train' has 20,000 tasks.*not played whole.*20000"),
        (Evaluation("StepTool/ToolWorld-v0", episodes=30_000), "episodes=30000: 'train' has 20,000 tasks"),
        (Evaluation("Toys/Nothing-v0"), "not registered.*StepTool/StableToolBench-v0"),
        (Evaluation(TOYS, {"colour": "red"}), "cannot be made with these arguments.*colour.*check their names"),
        (
            Evaluation("StepTool/ToolWorld-v0", {"splitt": "train"}),
            "ToolWorld-v0: there is no argument splitt='train'; it takes split, level, .*, render_mode$",
        ),
        (Evaluation("StepTool/ToolWorld-v0", {"reward_options": {"cost": "x"}}), "^cost='x': must be a number"),
        (Evaluation("StepTool/ToolWorld-v0", {"unsolvable": "x"}), "^unsolvable: 'x' is not a share"),
        (Evaluation("CartPole-v1"), "not a text environment"),
    ],
)
def test_an_evaluation_that_cannot_be_is_explained(evaluation: Evaluation, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        evaluate(evaluation, RandomAgent())


def test_more_demonstrations_than_tasks_are_refused() -> None:
    """20,000 different ones were made where 30,000 were asked for."""
    with pytest.raises(ConfigurationError, match="episodes=30000: 'train' has 20,000 tasks"):
        make_demonstrations(SFTRunConfig(episodes=30_000))


def test_the_panel_tells_which_tasks_were_played_and_nothing_else() -> None:
    """Not the agent, the order or the outcome."""
    five, again = (evaluate(Evaluation(TOYS, episodes=5, seed=seed), RandomAgent(seed=seed)) for seed in (0, 1))
    assert panel_of(five) == panel_of(again) == panel_of(five[::-1])
    assert re.fullmatch(r"[0-9a-f]{16}", panel_of(five))
    changed = replace(five[0], task=replace(five[0].task, query="Another query"))
    lost = replace(five[0], metadata={**five[0].metadata, "transport_error": "away"})
    assert len({panel_of(five), panel_of(five[1:]), panel_of([changed, *five[1:]])}) == 3
    assert panel_of([lost, *five[1:]]) == panel_of(five[1:])


def test_the_seed_reaches_the_episodes() -> None:
    first, again, other = (evaluate(Evaluation(TOYS, seed=seed, episodes=3), RandomAgent()) for seed in (1, 1, 2))
    assert first == again != other


class OneCall(Agent):
    """Makes the same call until the budget's end."""

    name = "one call"

    def act(self, indices: Any, observations: Any, infos: Any) -> list[str]:
        return [COUNT] * len(indices)


class Counting:
    """Checks what an agent is promised, and counts to the budget's end."""

    name = "counting"

    def __init__(self) -> None:
        self.left: dict[int, int] = {}

    def reset(self, indices: Any, observations: Any, infos: Any) -> None:
        assert len(indices) == len(observations) == len(infos) > 0
        for index, info in zip(indices, infos, strict=True):
            self.left[index] = info["calls_left"]

    def act(self, indices: Any, observations: Any, infos: Any) -> list[str]:
        for index, info in zip(indices, infos, strict=True):
            assert info["calls_left"] == self.left[index] > 0
            self.left[index] -= 1
        return ["no call"] * len(indices)


def test_an_agent_hears_of_every_episode_and_asked_once_per_step() -> None:
    trajectories = evaluate(Evaluation(TOYS, slots=3), Counting())
    assert [len(trajectory.steps) for trajectory in trajectories] == [6] * 10
    assert metrics_of(trajectories)["invalid_call_rate"] == 1.0


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="slots=0"):
        Evaluation(TOYS, slots=0)


def test_metrics_are_flat_json_and_what_is_undefined_is_null(tmp_path: Path) -> None:
    metrics = metrics_of([])
    write_metrics(metrics, tmp_path / "metrics.json", panel_of([]))
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["pass_rate"] is None
    assert read["episodes"] == 0
    assert len(read.pop("panel")) == 16
    assert all(value is None or isinstance(value, int | float) for value in read.values())


def test_the_pass_rate_at_the_whole_budget_is_the_pass_rate() -> None:
    metrics = metrics_of(evaluate(Evaluation(TOYS), RandomAgent()))
    assert metrics["pass_at_budget_6"] == metrics["pass_rate"]
    assert "pass_at_budget_7" not in metrics


def test_a_budget_that_means_no_limit_makes_no_metric_of_every_number() -> None:
    metrics = metrics_of(evaluate(Evaluation(TOYS, {"call_budget": 2_000}, episodes=1), RandomAgent()))
    assert metrics["pass_at_budget_1000"] == metrics["pass_rate"]
    assert "pass_at_budget_1001" not in metrics


def test_options_are_json_where_they_read_as_json() -> None:
    words = [["a=4", "b=true", 'c={"d": 1}'], ["e=some text", "f=x=y", "g="]]
    assert read_options("env_args", words) == {"a": 4, "b": True, "c": {"d": 1}, "e": "some text", "f": "x=y", "g": ""}


@pytest.mark.parametrize("words", [["a"], ["=4"], ["a=1", "a=2"], ["reward_options=judge=rules"], ["depths=2"]])
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="--env-args"):
        read_options("env_args", [words])
