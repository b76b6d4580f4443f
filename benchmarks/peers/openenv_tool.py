"""OpenEnv's echo as a tool: an environment with one tool that returns its argument, and its server application.

It follows the echo environment in OpenEnv's repository: an `MCPEnvironment` with a FastMCP server.
"""

from typing import Any

TOOL = "echo_message"


def make_env() -> Any:
    """Return the environment. Raises `ImportError` if OpenEnv is not installed."""
    from fastmcp import FastMCP
    from openenv.core.env_server.mcp_environment import MCPEnvironment
    from openenv.core.env_server.types import Observation, State

    class EchoTool(MCPEnvironment):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            server = FastMCP("echo_tool")
            server.tool(echo_message)
            super().__init__(server)
            self._state = State(step_count=0)

        def reset(self, **_: Any) -> Any:
            self._state = State(step_count=0)
            return Observation(done=False, reward=0.0)

        def _step_impl(self, action: Any, **_: Any) -> Any:
            raise ValueError(f"an action is a call of a tool, not {type(action).__name__}")

        @property
        def state(self) -> Any:
            return self._state

    return EchoTool()


def make_app() -> Any:
    """Return the server application: `uvicorn --factory benchmarks.peers.openenv_tool:make_app`."""
    from openenv.core.env_server.http_server import create_app
    from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation

    return create_app(make_env, CallToolAction, CallToolObservation, env_name="echo_tool")


def echo_message(message: str) -> str:
    """Return the message.

    Args:
        message: Text to return.
    """
    return message
