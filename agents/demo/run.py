"""The demonstration: start a tool server, train policies against it and compare them with their start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

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

SPLITS = ("validation", "G1_instruction")
"""Evaluation splits, with equally many tasks of each. No policy is trained on them."""
_SLOTS = 50  # concurrent episodes

DemoLearner = Literal["text", "none"]
Runs = dict[str, list[Trajectory]]
"""Trajectories of every agent on the same tasks, by its name."""


@dataclass(frozen=True)
class Demo:
    """Settings of the demonstration."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Output folder."""
    learner: DemoLearner = "text"
    """`text`: train a transformer of a million parameters that reads and writes text. `none`: floors and ceiling only,
    in seconds."""
    from_scratch: bool = False
    """Train the starting policy again (most of an hour) instead of taking the shipped one."""
    calls: int = 0
    """Environment calls of training for each policy; 0 takes those of the configuration."""
    episodes: int = 200
    """Number of held-out tasks for every agent."""
    world_seed: int = 0
    """Seed of the world."""
    agent: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME"), tyro.conf.UseAppendAction] = ()
    """Further agent to compare, by name or module:factory; may be repeated."""

    def __post_init__(self) -> None:
        if self.calls < 0:
            raise ConfigurationError(f"calls={self.calls}: must be at least 0")
        if self.episodes < 1:
            raise ConfigurationError(f"episodes={self.episodes}: must be at least 1")


@dataclass
class Outcome:
    """Results of the demonstration, by agent: trajectories; of trained policies also metrics and environment calls."""

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
        each = math.ceil(demo.episodes / len(SPLITS))
        evaluations = [Evaluation(ENV_ID, {**tasks, **tools, "split": s}, each, _SLOTS) for s in SPLITS]
        for evaluation in evaluations:
            check(evaluation)
        agents = dict(_trained(demo, tools, outcome)) if demo.learner == "text" else {}
        agents |= {name: make_agent(name) for name in (*FLOORS, CEILING, *demo.agent)}
        outcome.runs = {name: [t for e in evaluations for t in _play(name, agent, e)] for name, agent in agents.items()}
    say("tool server ended")
    return outcome


def _trained(demo: Demo, tools: Mapping[str, Any], outcome: Outcome) -> Iterator[tuple[str, Agent]]:
    """Yield the start and the policies trained from it, each with the sampling of training and at temperature 0."""
    from agents.demo.arms import ARMS, demo_config, starting_point, train_arms
    from agents.models.bundle import load_policy
    from agents.rollout.policy_agent import policy_agent

    start = starting_point(demo.out / "sft", demo.from_scratch)
    sampling = demo_config("steptool", start, demo.out, tools).sampling
    policies = {"sft": load_policy(start)}
    arms = train_arms({algo: demo_config(algo, start, demo.out / algo, tools, demo.calls) for algo in ARMS})
    for name, arm in arms.items():
        outcome.curves[name], outcome.calls[name] = arm.curve, arm.calls
        policies[name] = arm.learner
    for suffix, temperature in (("", 1.0), (GREEDY, 0.0)):
        for name, learner in policies.items():
            yield name + suffix, policy_agent(learner, sampling, temperature, name + suffix)


def _task_arguments(demo: Demo) -> dict[str, Any]:
    """Return the arguments of the evaluation tasks: those of training, except for the split."""
    if demo.learner == "none":
        return {}
    from agents.demo.arms import task_arguments

    return task_arguments()


def _play(name: str, agent: Agent, evaluation: Evaluation) -> list[Trajectory]:
    with EpisodeProgress(name) as progress:
        return evaluate(evaluation, agent, progress.add, progress.expect)
