"""The demonstration's training where no text policy is at hand to start from: two policies of the numeric twin.

There an action is one tool call, so PPO with one reward per action is step-grained PPO (docs/algorithms.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of
from agents.reporting.training_progress import TrainingProgress
from agents.sb3.train import SB3Settings, agent_of, train

REWARDS = {"steptool": "progress", "final": "final"}
"""The reward of each arm: for every step, or for the answer alone."""
CALLS = 24_576
"""Environment calls of training of each arm."""
TASKS: Mapping[str, Any] = {"level": "lite", "depths": {"1": 1.0, "2": 1.0}, "unsolvable": 0.0}
"""Arguments of the environment that say what the tasks are like."""

_ENV_ID = "StepTool/ToolWorld-v0"
_EVERY = 2
"""Rollouts from one evaluation to the next."""


@dataclass(frozen=True)
class NumericArm:
    """One trained policy: its name, the policy before and after, its learning curve and its environment calls."""

    name: str
    start: Agent
    agent: Agent
    curve: list[dict[str, float]]
    calls: int


def train_arms(tools: Mapping[str, Any], calls: int = 0, eval_episodes: int = 100) -> Iterator[NumericArm]:
    """Train every arm from the same start for the same number of calls, showing return and held-out pass rate.

    Args:
        tools: Arguments of the environment that say where the tools are.
        calls: Environment calls of each arm, rounded up to whole rollouts; 0 takes `CALLS`.
        eval_episodes: Validation tasks for each point of the learning curves.
    """
    evaluation = Evaluation(_ENV_ID, {**TASKS, **tools, "split": "validation"}, eval_episodes, slots=eval_episodes)
    for name, reward in REWARDS.items():
        settings = SB3Settings(
            total_steps=calls or CALLS, env_args={**TASKS, **tools, "split": "train", "reward": reward}
        )
        yield _train(name, settings, evaluation)


def _train(name: str, settings: SB3Settings, evaluation: Evaluation) -> NumericArm:
    curve: list[dict[str, float]] = []
    starts: list[Agent] = []
    rollout = settings.num_envs * settings.n_steps
    with TrainingProgress(name) as progress:

        def on_rollout(steps: int, mean: float, model: BaseAlgorithm) -> None:
            if steps == 0:
                starts.append(_as_it_is(model))
            if steps % (_EVERY * rollout) == 0 or steps >= settings.total_steps:
                solved = metrics_of(evaluate(evaluation, agent_of(model, name)))["pass_rate"]
                curve.append({"calls": float(steps), "eval/is_solved": solved})
            held_out = 100 * curve[-1]["eval/is_solved"]
            progress.tell(
                min(steps, settings.total_steps), settings.total_steps, f"return {mean:.2f}, held out {held_out:.0f} %"
            )

        model = train(settings, on_rollout)
    return NumericArm(name, starts[0], agent_of(model, name), curve, model.num_timesteps)


def _as_it_is(model: BaseAlgorithm) -> Agent:
    """A copy of a policy in training, as an agent: what it can do now, whatever it learns later."""
    buffer = BytesIO()
    model.save(buffer)
    buffer.seek(0)
    return agent_of(type(model).load(buffer, device="cpu"), "untrained")
