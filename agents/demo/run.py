"""The demonstration: a tool server, policies trained against it, and how they compare with where they began."""

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
"""Behind the name of a policy: the same, taking the likeliest token."""

DemoLearner = Literal["numeric", "text", "none"]
Runs = dict[str, list[Trajectory]]
"""The trajectories of every agent on the same tasks, by its name."""


@dataclass(frozen=True)
class Demo:
    """What the demonstration runs.

    Attributes:
        out: Folder for what the trained policies leave behind.
        learner: Which policies are trained: of `text` (a transformer), of the `numeric` twin, or `none`: then only
            floors and ceiling are compared.
        from_scratch: Make the starting policy again instead of taking the one that comes with the package.
        calls: Environment calls of training for each policy; 0 takes the learner's own number.
        splits: The tasks of ToolWorld that all are compared on, equally many of each; no policy is trained on them.
        episodes: Number of these tasks together.
        world_seed: Seed of the world that the server serves.
        slots: Episodes side by side.
        guests: Further agents to compare, by name or `module:factory`.
    """

    out: Path
    learner: DemoLearner = "text"
    from_scratch: bool = False
    calls: int = 0
    splits: tuple[str, ...] = ("validation", "G1_instruction")
    episodes: int = 200
    world_seed: int = 0
    slots: int = 50
    guests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.calls < 0:
            raise ConfigurationError(f"calls={self.calls}: must be at least 0")
        if self.episodes < 1:
            raise ConfigurationError(f"episodes={self.episodes}: must be at least 1")


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        runs: Trajectories of every agent.
        curves: Metrics against environment calls of every trained policy.
        calls: Environment calls of training of every trained policy.
    """

    runs: Runs = field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


def run_demo(demo: Demo, say: Callable[[str], None]) -> Outcome:
    """Start a tool server, train against it, let every agent work on the same tasks, and end the server."""
    outcome, tasks = Outcome(), _task_arguments(demo)
    settings = {"world_tools": tasks["tools"]} if "tools" in tasks else {}
    with ServerProcess(["--world", str(demo.world_seed)], settings=settings) as server:
        say(f"tool server on {server.url} (process {server.pid})")
        tools = {"world_seed": demo.world_seed, "server_url": server.url}
        each = math.ceil(demo.episodes / len(demo.splits))
        evaluations = [Evaluation(ENV_ID, {**tasks, **tools, "split": s}, each, demo.slots) for s in demo.splits]
        for evaluation in evaluations:
            check(evaluation)
        agents: dict[str, Agent] = dict(_TRAINED[demo.learner](demo, tools, outcome))
        agents |= {name: make_agent(name) for name in (*FLOORS, CEILING, *demo.guests)}
        outcome.runs = {name: [t for e in evaluations for t in _play(name, agent, e)] for name, agent in agents.items()}
    say("tool server ended")
    return outcome


def _nobody(demo: Demo, tools: Mapping[str, Any], outcome: Outcome) -> Iterator[tuple[str, Agent]]:
    """No trained policy."""
    del demo, tools, outcome
    yield from ()


def _numeric(demo: Demo, tools: Mapping[str, Any], outcome: Outcome) -> Iterator[tuple[str, Agent]]:
    """An untrained policy of the numeric twin and those trained from it."""
    from agents.demo.numeric import train_arms

    for arm in train_arms(tools, demo.calls):
        if not outcome.curves:
            yield "untrained", arm.start
        outcome.curves[arm.name], outcome.calls[arm.name] = arm.curve, arm.calls
        yield arm.name, arm.agent


def _text(demo: Demo, tools: Mapping[str, Any], outcome: Outcome) -> Iterator[tuple[str, Agent]]:
    """The start and the policies trained from it, as they sample in training, and taking the likeliest token."""
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


_TRAINED = {"none": _nobody, "numeric": _numeric, "text": _text}


def _task_arguments(demo: Demo) -> dict[str, Any]:
    """What the tasks are like that all are compared on: as those of the training, but for their split."""
    arguments: Mapping[str, Any] = {}
    if demo.learner == "text":
        from agents.demo.arms import task_arguments

        arguments = task_arguments()
    if demo.learner == "numeric":
        from agents.demo.numeric import TASKS

        arguments = TASKS
    return dict(arguments)


def _play(name: str, agent: Agent, evaluation: Evaluation) -> list[Trajectory]:
    with EpisodeProgress(name) as progress:
        return evaluate(evaluation, agent, progress.add, progress.expect)
