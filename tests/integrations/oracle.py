"""Episodes of the oracle in Gymnasium, which partners have to give again."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

import steptool_env  # noqa: F401 - registers the environments
from agents.baselines.oracle import OracleAgent
from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Transition


def play(
    task: str | int, *, first: Sequence[str] = (), episode_seed: int = 0, **arguments: Any
) -> tuple[dict[str, Any], list[tuple[str, Transition]]]:
    """`info` of the reset, and the texts `first` and then the oracle's, each with what Gymnasium answers."""
    env = gym.make("StepTool/ToolWorld-v0", split="depth-2", **arguments).unwrapped
    assert isinstance(env, ToolEnv)
    observation, reset_info = env.reset(seed=0, options={"task": task, "episode_seed": episode_seed})
    agent, info, transitions = OracleAgent(), reset_info, list[tuple[str, Transition]]()
    agent.reset([0], [observation], [info])
    while not env.episode.over:
        (text,) = first[len(transitions) : len(transitions) + 1] or agent.act([0], [observation], [info])
        step = env.step(text)
        observation, info = step.observation, step.info
        transitions.append((text, step))
    return reset_info, transitions
