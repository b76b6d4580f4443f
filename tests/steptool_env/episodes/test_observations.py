"""Styles of observations: with the remaining calls, or as ToolBench's client shows them."""

import json

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401
from steptool_env.errors import ConfigurationError
from steptool_env.formats import make_format
from steptool_env.types import FINISH

STABLE = "StepTool/StableToolBench-v0"


def played(**arguments: object) -> tuple[str, str, list[str], gym.Env[str, str]]:
    """The prompt as text and message, and the observations of two calls and an answer."""
    env = gym.make(STABLE, **arguments)
    prompt, info = env.reset(seed=0, options={"task": 0})
    name = info["functions"][0]["name"]
    finish = json.dumps({"return_type": "give_answer", "final_answer": "a"})
    write = make_format("react").render
    actions = [write(name, "{}"), write("invented", "{}"), write(FINISH, finish)]
    return prompt, info["messages"][-1]["content"], [env.step(action)[0] for action in actions], env


def test_toolbenchs_observations_end_in_its_marker_and_do_not_say_what_is_left() -> None:
    prompt, message, seen, env = played(observation="toolbench", max_observation_length=20)
    assert not any("Calls left" in text for text in (prompt, message, *seen))
    bodies = [step.body or step.observation for step in env.unwrapped.episode.steps]  # type: ignore[attr-defined]
    assert seen[0] == f"{bodies[0][:20]}..."
    assert message.endswith("Begin!\n")
    assert seen[1] == '{"error": "No such f...'
    assert played(observation="toolbench")[2][2] == '{"response":"successfully giving the final answer."}'


def test_the_default_is_as_before_and_its_trajectory_does_not_name_it() -> None:
    prompt, _, seen, env = played(max_observation_length=20)
    assert prompt.endswith("Calls left: 12\n\nAssistant:\n")
    assert seen[0].endswith(" characters cut]\nCalls left: 11")
    trajectory = env.unwrapped.episode.trajectory()  # type: ignore[attr-defined]
    assert "observation" not in trajectory.metadata
    other = played(observation="toolbench")[3].unwrapped.episode.trajectory()  # type: ignore[attr-defined]
    assert other.metadata["observation"] == "toolbench"


def test_an_unknown_style_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="observation='short': must be one of budget, toolbench"):
        gym.make(STABLE, observation="short")
