"""Clients of the tools: in process or over HTTP."""

from steptool_env.client.base import ToolClient
from steptool_env.client.http import API_KEY_VARIABLE, HttpToolClient
from steptool_env.client.local import LocalToolClient
from steptool_env.suites.server_match import ServedSuite

__all__ = ["API_KEY_VARIABLE", "HttpToolClient", "LocalToolClient", "ToolClient", "make_client"]


def make_client(server_url: str | None, suite: ServedSuite) -> ToolClient | None:
    """Client for the server at `server_url`; `None` without one (the tools are in this process)."""
    return None if server_url is None else HttpToolClient(server_url, suite=suite)
