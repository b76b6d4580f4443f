"""`steptool evaluate`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.outputs import write_outputs
from agents.options import Words, read_options
from agents.registry import make_agent
from agents.reporting.console import EpisodeProgress
from steptool_env.errors import StepToolError, ToolTransportError
from steptool_env.trajectories.trajectories import TrajectoryWriter
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Command:
    """Run an agent through the tasks of an environment and report.

    Writes to the folder of --out: trajectories.jsonl (one episode per line, as they end), metrics.json (flat),
    run.json (how it was made) and report.html (self-contained).

    Example: steptool evaluate --env StepTool/StableToolBench-v0 --env-arg suite=G1_instruction data=DIR
    --agent openai:gpt-4o --episodes 50 --out runs/gpt-4o
    """

    env: Annotated[str, tyro.conf.arg(metavar="ID")]
    """The environment, e.g. StepTool/ToolWorld-v0."""
    agent: Annotated[str, tyro.conf.arg(metavar="NAME[:ARG]")]
    """The agent: a name such as random, replay:PATH or openai:MODEL, or module:factory."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the results; it is made."""
    env_arg: Words = ()
    """Arguments of the environment; a value is JSON where it reads as JSON, else text."""
    agent_arg: Words = ()
    """Arguments of the agent, read in the same way."""
    server_url: Annotated[str, tyro.conf.arg(metavar="URL")] = ""
    """Tool server; without it the tools run in this process."""
    episodes: int | None = None
    """Number of tasks, from the first on; by default the whole suite. A split to train on wants a number."""
    slots: int = 8
    """Episodes side by side (for `openai`: requests in flight)."""
    seed: int = 0
    """Seeds the episodes, and the draws of an agent that takes a seed."""

    def run(self) -> None:
        """Evaluate, showing the pass rate so far. A run that an error ends is reported as far as it came."""
        evaluation = Evaluation(self.env, self._env_kwargs(), self.episodes, self.slots, self.seed)
        agent = make_agent(self.agent, run_seed=self.seed, **read_options("agent_arg", self.agent_arg))
        played: list[Trajectory] = []
        try:
            self._play(evaluation, agent, played)
        except StepToolError:
            if played:
                with suppress(ToolTransportError):  # that all were lost is what the error says
                    self._write(evaluation, agent, played)
            raise
        finally:
            getattr(agent, "close", lambda: None)()
        self._write(evaluation, agent, played)

    def _write(self, evaluation: Evaluation, agent: Agent, trajectories: list[Trajectory]) -> None:
        subtitle = f"Agent {agent.name} in {self.env}, {len(trajectories)} tasks, seed {self.seed}."
        run = {"evaluation": vars(evaluation), "agent": self.agent, "agent_arg": self.agent_arg}
        write_outputs(self.out, agent.name, subtitle, trajectories, run)

    def _env_kwargs(self) -> dict[str, Any]:
        kwargs = read_options("env_arg", self.env_arg)
        return kwargs | {"server_url": self.server_url} if self.server_url else kwargs

    def _play(self, evaluation: Evaluation, agent: Agent, played: list[Trajectory]) -> None:
        with TrajectoryWriter(self.out / "trajectories.jsonl") as writer, EpisodeProgress(agent.name) as progress:

            def on_episode(trajectory: Trajectory) -> None:
                played.append(trajectory)
                writer.write(trajectory)
                progress.add(trajectory)

            evaluate(evaluation, agent, on_episode, progress.expect)
