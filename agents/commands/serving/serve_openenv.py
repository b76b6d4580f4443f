"""`steptool serve-openenv`."""

from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import tyro

from agents.commands.serving.serve_policy import AllowedHosts, listen, names_of, serve
from agents.options import Words, read_options


@dataclass(frozen=True)
class Command:
    """Serve an environment to clients of OpenEnv, each session with an episode of its own.

    Example: steptool serve-openenv --env-args split=train --port 8000

    Example: steptool serve-openenv --tools --env StepTool/StableToolBench-v0
    """

    env: Annotated[str, tyro.conf.arg(metavar="ID")] = "StepTool/ToolWorld-v0"
    """Id of a text environment."""
    env_args: Words = ()
    """Arguments of the environment. A value that parses as JSON is JSON, else text."""
    server_url: Annotated[str, tyro.conf.arg(metavar="URL")] = ""
    """URL of the tool server; by default the tools run in this process."""
    tools: bool = False
    """Serve the functions of each task as MCP tools, instead of texts."""
    sessions: int = 64
    """Maximum number of concurrent episodes."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    allowed_hosts: AllowedHosts = None
    """Host names by which the server may be called beside addresses and names without a dot, separated by commas: as
    of `toolserver serve`."""

    def run(self) -> None:
        """Serve until interrupted."""
        from steptool_env.integrations.openenv import make_app

        names = names_of(self.allowed_hosts)
        arguments = read_options("env_args", self.env_args)
        if self.server_url:
            arguments["server_url"] = self.server_url
        app = make_app(self.env, arguments, tools=self.tools, sessions=self.sessions)
        with closing(listen(self.host, self.port)) as listening:
            serve(app, "openenv", listening, self.host, names)
