"""The demonstration: a tool server, agents that use it, and how they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.evaluate import Evaluation, evaluate
from agents.evaluation_report import budget_plot, comparison
from agents.progress import EpisodeProgress
from agents.registry import make_agent
from agents.report import Example, Report, write_report
from steptool_env.types import Trajectory
from toolserver.process import ServerProcess

ENV_ID = "StepTool/ToolWorld-v0"
FLOORS_AND_CEILING = ("random", "no-tools", "greedy-docs", "oracle")
_EXAMPLES = 3


@dataclass(frozen=True)
class Demo:
    """What the demonstration runs.

    Attributes:
        agents: Names of the agents, see `agents.registry`.
        split: The tasks of ToolWorld that they are given.
        episodes: Number of tasks.
        world_seed: Seed of the world that the server serves.
        slots: Episodes side by side.
    """

    agents: Sequence[str] = FLOORS_AND_CEILING
    split: str = "validation"
    episodes: int = 100
    world_seed: int = 0
    slots: int = 8


Runs = dict[str, list[Trajectory]]
"""The trajectories of every agent, by its name."""


def run_demo(demo: Demo, say: Callable[[str], None]) -> Runs:
    """Start a tool server, let every agent work on the same tasks over HTTP, and end the server."""
    with ServerProcess(["--world", str(demo.world_seed)]) as server:
        say(f"tool server on {server.url} (process {server.pid})")
        kwargs = {"split": demo.split, "world_seed": demo.world_seed, "server_url": server.url}
        evaluation = Evaluation(ENV_ID, kwargs, demo.episodes, demo.slots)
        runs = {name: _play(name, evaluation) for name in demo.agents}
    say("tool server ended")
    return runs


def _play(name: str, evaluation: Evaluation) -> list[Trajectory]:
    with EpisodeProgress(name) as progress:
        return evaluate(evaluation, make_agent(name), progress.add, progress.expect)


def write_page(demo: Demo, runs: Runs, path: Path) -> None:
    """Write the page that compares the agents, with some tasks as each of them took them."""
    subtitle = f"{demo.episodes} tasks of ToolWorld ({demo.split}, world {demo.world_seed}), tools over HTTP."
    indices = range(min(_EXAMPLES, *(len(trajectories) for trajectories in runs.values())))
    examples = [Example(_title(runs, i), [(name, episodes[i]) for name, episodes in runs.items()]) for i in indices]
    plots = [budget_plot(runs)]
    write_report(Report("steptool demo", subtitle, plots=plots, tables=[comparison(runs)], examples=examples), path)


def _title(runs: Runs, index: int) -> str:
    return f"Task {next(iter(runs.values()))[index].task.id}"
