"""What the registered environments are put together from."""

from __future__ import annotations

from typing import NamedTuple

from steptool_env.client import HttpToolClient, ToolClient
from steptool_env.rules import Rules
from steptool_env.suites.base import TaskSuite


class Parts(NamedTuple):
    """The first arguments of `ToolEnv` and `ToolVectorEnv`. Without a client the tools are in this process."""

    suite: TaskSuite
    rules: Rules
    client: ToolClient | None


def make_client(server_url: str | None) -> ToolClient | None:
    """A client for the server, if there is one."""
    return None if server_url is None else HttpToolClient(server_url)
