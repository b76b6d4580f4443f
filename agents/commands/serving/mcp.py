"""`steptool mcp`."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents.options import Words, read_options
from steptool_env.envs.make import make_env
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import read_task_id
from steptool_env.trajectories.trajectories import TrajectoryWriter


@dataclass(frozen=True)
class Command:
    """Serve one task to an agent by the Model Context Protocol, over standard input and output.

    The agent's host starts this command as it starts any MCP server. Its tools are the functions of the task, `Finish`
    among them; the prompt `task` has the query. One process is one episode: results carry reward terms and provenance,
    and the end of the episode its step rewards.

    Example: steptool mcp --task w0-lite-depth-2-7 --out runs/mcp/trajectories.jsonl

    Example: steptool mcp --env StepTool/StableToolBench-v0 --task 3
    """

    task: Annotated[str, tyro.conf.arg(metavar="ID|INDEX")]
    """Id of the task, or its index in the suite."""
    env: Annotated[str, tyro.conf.arg(metavar="ID")] = "StepTool/ToolWorld-v0"
    """Id of the environment."""
    env_args: Words = ()
    """Arguments of the environment. A value that parses as JSON is JSON, else text. The id of a task of ToolWorld gives
    the world, its level and the split."""
    server_url: Annotated[str, tyro.conf.arg(metavar="URL")] = ""
    """URL of the tool server; by default the tools run in this process."""
    seed: int = 0
    """Seed of the tools' state."""
    rewards: Literal["structured", "meta"] = "structured"
    """Place of rewards in a result: the structured content, which some hosts show to their model, or `_meta`."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File to which the trajectory is appended, for `steptool score` and `steptool report`."""

    def run(self) -> None:
        """Serve until the client ends the session."""
        import anyio

        from steptool_env.integrations.mcp import EnvSession, serve_stdio

        kwargs = {"format": "openai", **self._world(), **read_options("env_args", self.env_args)}
        if self.server_url:
            kwargs["server_url"] = self.server_url
        task = int(self.task) if self.task.isdecimal() else self.task
        with ExitStack() as stack:
            options: dict[str, Any] = {}
            if self.out is not None:
                options["on_end"] = stack.enter_context(TrajectoryWriter(self.out, append=True)).write
            env = make_env(self.env, kwargs)
            anyio.run(serve_stdio, EnvSession(env, task, episode_seed=self.seed, **options), self.rewards)

    def _world(self) -> dict[str, Any]:
        """Return the arguments of the environment that the id of a task of ToolWorld names."""
        try:
            seed, level, split, _ = read_task_id(self.task)
        except ConfigurationError:
            return {}
        return {"world_seed": seed, "level": level, "split": split}
