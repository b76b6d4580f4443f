"""The demonstration: start a tool server, train policies against it and compare them with their start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, check, evaluate
from agents.registry import make_agent
from agents.reporting.console import EpisodeProgress
from steptool_env.errors import ConfigurationError
from steptool_env.types import Trajectory
from toolserver.testing import ServerProcess

ENV_ID = "StepTool/ToolWorld-v0"
FLOORS = ("random", "no-tools", "greedy-docs")
CEILING = "oracle"
GREEDY = ", greedy"
"""Suffix of a policy's name: the same policy at temperature 0."""

DemoLearner = Literal["text", "none"]
Runs = dict[str, list[Trajectory]]
"""Trajectories of every agent on the same tasks, by its name."""


@dataclass(frozen=True)
class Demo:
    """Settings of the demonstration.

    Attributes:
        out: Output folder of the training runs.
        learner: Policies that are trained: `text` (a transformer) or `none`: then floors and ceiling only.
        from_scratch: Train the starting policy again instead of taking the shipped one.
        calls: Environment calls of each training run; 0 takes those of the configuration.
        splits: Evaluation splits of ToolWorld, with equally many tasks of each. No policy is trained on them.
        episodes: Number of evaluation tasks in total.
        world_seed: Seed of the world.
        slots: Number of concurrent episodes.
        extra_agents: Further agents to compare, by name or `module:factory`.
    """

    out: Path
    learner: DemoLearner = "text"
    from_scratch: bool = False
    calls: int = 0
    splits: tuple[str, ...] = ("validation", "G1_instruction")
    episodes: int = 200
    world_seed: int = 0
    slots: int = 50
    extra_agents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.calls < 0:
            raise ConfigurationError(f"calls={self.calls}: must be at least 0")
        if self.episodes < 1:
            raise ConfigurationError(f"episodes={self.episodes}: must be at least 1")


@dataclass
class Outcome:
    """Results of the demonstration.

    Attributes:
        runs: Trajectories of every agent.
        curves: Metrics against environment calls of every trained policy.
        calls: Environment calls of training of every trained policy.
    """

    runs: Runs = field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


def run_demo(demo: Demo, say: Callable[[str], None]) -> Outcome:
    """Start a tool server, train against it, evaluate every agent on the same tasks, and stop the server."""
    outcome, tasks = Outcome(), _task_arguments(demo)
    settings = {"world_tools": tasks["tools"]} if "tools" in tasks else {}
    with ServerProcess(["--world", str(demo.world_seed)], settings=settings) as server:
        say(f"tool server on {server.url} (process {server.pid})")
        tools = {"world_seed": demo.world_seed, "server_url": server.url}
        each = math.ceil(demo.episodes / len(demo.splits))
        evaluations = [Evaluation(ENV_ID, {**tasks, **tools, "split": s}, each, demo.slots) for s in demo.splits]
        for evaluation in evaluations:
            check(evaluation)
        agents = dict(_trained(demo, tools, outcome)) if demo.learner == "text" else {}
        agents |= {name: make_agent(name) for name in (*FLOORS, CEILING, *demo.extra_agents)}
        outcome.runs = {name: [t for e in evaluations for t in _play(name, agent, e)] for name, agent in agents.items()}
    say("tool server ended")
    return outcome


def _trained(demo: Demo, tools: Mapping[str, Any], outcome: Outcome) -> Iterator[tuple[str, Agent]]:
    """Yield the start and the policies trained from it, each with the sampling of training and at temperature 0."""
    from agents.demo.arms import ARMS, demo_config, starting_point, train_arms
    from agents.models.bundle import load_learner
    from agents.rollout.policy_agent import policy_agent

    start = starting_point(demo.out / "sft", demo.from_scratch)
    sampling = demo_config("steptool", start, demo.out, tools).sampling
    policies = {"sft": load_learner(start)}
    arms = train_arms({algo: demo_config(algo, start, demo.out / algo, tools, demo.calls) for algo in ARMS})
    for name, arm in arms.items():
        outcome.curves[name], outcome.calls[name] = arm.curve, arm.calls
        policies[name] = arm.learner
    for suffix, temperature in (("", sampling.temperature), (GREEDY, 0.0)):
        for name, learner in policies.items():
            yield name + suffix, policy_agent(learner, replace(sampling, temperature=temperature), name + suffix)


def _task_arguments(demo: Demo) -> dict[str, Any]:
    """Return the arguments of the evaluation tasks: those of training, except for the split."""
    if demo.learner == "none":
        return {}
    from agents.demo.arms import task_arguments

    return task_arguments()


def _play(name: str, agent: Agent, evaluation: Evaluation) -> list[Trajectory]:
    with EpisodeProgress(name) as progress:
        return evaluate(evaluation, agent, progress.add, progress.expect)
