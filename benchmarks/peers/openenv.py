"""OpenEnv (`openenv`): its two echo environments, in process and over its WebSocket.

Both return the text of the action, so only the transport is measured. The action of the one that `openenv init`
generates is the text; the action of the other (`openenv_tool`) is a tool call.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness.episodes import Played, Script, play_with
from benchmarks.harness.process import serve_app
from benchmarks.peers import Contestants
from benchmarks.peers.openenv_tool import TOOL, make_env

ECHO, ECHO_TOOL = "OpenEnv echo, WebSocket", "OpenEnv echo tool, WebSocket"
"""Names of both environments over OpenEnv's protocol."""
ECHO_INSIDE, ECHO_TOOL_INSIDE = "OpenEnv echo, in process", "OpenEnv echo tool, in process"
"""Names of both environments, called directly."""

_NAME = "echo_env"


@contextmanager
def openenv(scripts: Sequence[Script]) -> Iterator[Contestants]:
    """Set up both echo environments, each called directly, and through its client from a server process."""
    import_module("openenv.core")
    with _echo(scripts) as echo, _echo_tool(scripts) as echo_tool:
        yield {**echo, **echo_tool}


@contextmanager
def _echo(scripts: Sequence[Script]) -> Iterator[Contestants]:
    with tempfile.TemporaryDirectory() as folder:
        _generate(folder)
        sys.path.insert(0, folder)
        try:
            package = import_module(_NAME)
            inside = import_module(f"{_NAME}.server.{_NAME}_environment").EchoEnvironment()
            with (
                serve_app(f"{_NAME}.server.app:app", "--no-access-log", folder=Path(folder)) as server,
                package.EchoEnv(base_url=server.url).sync() as client,
            ):
                yield {
                    ECHO_INSIDE: lambda: _play(inside, _actor(inside, package.EchoAction), scripts),
                    ECHO: lambda: _play(client, _actor(client, package.EchoAction), scripts),
                }
        finally:
            sys.path.remove(folder)


@contextmanager
def _echo_tool(scripts: Sequence[Script]) -> Iterator[Contestants]:
    from openenv.core.mcp_client import MCPToolClient

    app = serve_app("benchmarks.peers.openenv_tool:make_app", "--factory", "--no-access-log")
    with app as server, MCPToolClient(base_url=server.url).sync() as client:
        yield {
            ECHO_TOOL_INSIDE: lambda: asyncio.run(_play_inside(scripts)),
            ECHO_TOOL: lambda: _play(client, lambda action: client.call_tool(TOOL, message=action), scripts),
        }


def _actor(env: Any, make_action: Callable[..., Any]) -> Callable[[str], None]:
    def act(action: str) -> None:
        env.step(make_action(message=action))

    return act


def _generate(folder: str) -> None:
    """Generate OpenEnv's echo environment as a package in `folder`."""
    command = [sys.executable, "-m", "openenv.cli", "init", _NAME, "--output-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ImportError(f"openenv init failed: {done.stderr[-500:]}")


def _play(env: Any, act: Callable[[str], object], scripts: Sequence[Script]) -> Played:
    return play_with(lambda _: env.reset(), act, scripts)


async def _play_inside(scripts: Sequence[Script]) -> Played:
    """Play as `play_with` does, with the tool in this process and an open session, as in the server."""
    from openenv.core.env_server.mcp_types import CallToolAction

    env = make_env()
    steps, stepping, resetting = 0, 0.0, 0.0
    async with env.mcp_session():
        for script in scripts:
            begin = perf_counter()
            env.reset()
            begun = perf_counter()
            for action in script.actions:
                await env.step_async(CallToolAction(tool_name=TOOL, arguments={"message": action}))
            stepping += perf_counter() - begun
            resetting += begun - begin
            steps += len(script.actions)
    return Played(len(scripts), steps, stepping, resetting)
