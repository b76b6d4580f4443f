"""`steptool evaluate`."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate, settings_of
from agents.evaluation.training_world import world_warning
from agents.options import Words, read_options
from agents.registry import make_agent
from agents.reporting.console import EpisodeProgressBar
from agents.reporting.outputs import check_unused, write_outputs
from steptool_env.errors import StepToolError, ToolTransportError
from steptool_env.trajectories.trajectories import TrajectoryWriter
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Command:
    """Run an agent through the tasks of an environment and report.

    Writes to the folder of --out: trajectories.jsonl (one episode per line, as they end), metrics.json (flat),
    run.json (settings of the run) and report.html (self-contained). A folder with the result of another run is refused.

    Example: steptool evaluate --env StepTool/ToolWorld-v0 --env-args split=validation --agent random --out runs/random

    Example: steptool evaluate --env StepTool/StableToolBench-v0 --env-args suite=G1_instruction data=DIR
    --agent openai:gpt-4o --episodes 50 --out runs/gpt-4o
    """

    env: Annotated[str, tyro.conf.arg(metavar="ID")]
    """Environment id, e.g. StepTool/ToolWorld-v0."""
    agent: Annotated[str, tyro.conf.arg(metavar="NAME[:ARG]")]
    """Agent: a name such as random, replay:PATH or openai:MODEL, or module:factory."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Output folder."""
    env_args: Words = ()
    """Arguments of the environment. A value that parses as JSON is JSON, else text."""
    agent_args: Words = ()
    """Arguments of the agent, parsed in the same way."""
    server_url: Annotated[str, tyro.conf.arg(metavar="URL")] = ""
    """URL of the tool server; by default the tools run in this process."""
    episodes: int | None = None
    """Number of tasks, from the first on; by default the whole suite. A training split needs a number."""
    slots: int = 8
    """Number of concurrent episodes or searches (for `openai`: of requests)."""
    seed: int = 0
    """Random seed of the episodes, and of an agent that takes a seed."""
    strategy: Annotated[str, tyro.conf.arg(metavar="cot@N|dfsdt")] = ""
    """Search per task: up to N episodes until one gives an answer, or ToolBench's DFSDT; by default one episode."""
    width: int = 2
    """Maximum number of actions per state in dfsdt."""
    max_calls: int | None = None
    """Maximum number of calls of a search, all paths together; by default 200 for dfsdt."""
    max_depth: int | None = None
    """Depth of a path of dfsdt in ToolBench's nodes, two or three per call; by default the call budget alone."""
    ray: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Play on a cluster of Ray, whose head is at ADDRESS (HOST:PORT), by default the cluster of this machine; the
    episodes are the same. A checkpoint of the agent is at the same path on every node."""

    def run(self) -> dict[str, Any]:
        """Evaluate, showing the pass rate so far.

        A run that ends with an error reports its complete episodes, and one that is interrupted names their file.
        """
        evaluation = Evaluation(
            self.env,
            self._env_kwargs(),
            self.episodes,
            self.slots,
            self.seed,
            self.strategy,
            self.width,
            self.max_calls,
            self.max_depth,
        )
        check_unused(self.out)
        agent = make_agent(self.agent, run_seed=self.seed, **read_options("agent_args", self.agent_args))
        if warning := world_warning(agent.name, getattr(agent, "trained_in", None), evaluation, "evaluated"):
            Console(stderr=True).print(warning, style="yellow", highlight=False, soft_wrap=True)
        played: list[Trajectory] = []
        try:
            self._play(evaluation, agent, played)
        except (StepToolError, ImportError):  # Ray may be missing
            if played:
                with suppress(ToolTransportError):  # the raised error already says that all were lost
                    self._write(evaluation, agent, played)
            else:
                self._remove_empty()
            raise
        except KeyboardInterrupt:
            if played:
                sys.stderr.write(
                    f"stopped before the end; wrote {len(played)} episodes to {self.out / 'trajectories.jsonl'}; "
                    f"steptool report {quote(str(self.out))} shows them\n"
                )
            else:
                self._remove_empty()
            raise
        finally:
            getattr(agent, "close", lambda: None)()
        return self._write(evaluation, agent, played)

    def _remove_empty(self) -> None:
        """Remove the empty file of a run that played nothing, and its folder, which would look like a run."""
        (self.out / "trajectories.jsonl").unlink(missing_ok=True)
        with suppress(OSError):  # it holds other files
            self.out.rmdir()

    def _write(self, evaluation: Evaluation, agent: Agent, trajectories: list[Trajectory]) -> dict[str, Any]:
        run = {
            "agent": self.agent,
            "agent_args": self.agent_args,
            "strategy": self.strategy or "",
            "evaluation": vars(evaluation),
            "settings": settings_of(evaluation),
        }
        if training := getattr(agent, "training", None):
            run["training"] = training
        searched = f", strategy {self.strategy}" if self.strategy else ""
        return write_outputs(self.out, f"{agent.name} in {self.env}{searched}", trajectories, run)

    def _env_kwargs(self) -> dict[str, Any]:
        kwargs = read_options("env_args", self.env_args)
        return kwargs | {"server_url": self.server_url} if self.server_url else kwargs

    def _play(self, evaluation: Evaluation, agent: Agent, played: list[Trajectory]) -> None:
        with TrajectoryWriter(self.out / "trajectories.jsonl") as writer, EpisodeProgressBar(agent.name) as bar:

            def on_episode(trajectory: Trajectory) -> None:
                played.append(trajectory)
                writer.write(trajectory)
                bar.add(trajectory)

            if self.ray is None:
                evaluate(evaluation, agent, on_episode, bar.expect)
                return
            from agents.cluster.evaluation import AgentSpec, evaluate_on_cluster

            spec = AgentSpec(self.agent, read_options("agent_args", self.agent_args), self.seed)
            evaluate_on_cluster(" ".join(self.ray), evaluation, spec, on_episode, bar.expect)
