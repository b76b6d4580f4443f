"""What the registered environments are put together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, NamedTuple

from steptool_env.client import HttpToolClient, ServedSuite, ToolClient
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.errors import ConfigurationError
from steptool_env.suites.base import TaskSuite


class Parts(NamedTuple):
    """The first arguments of `ToolEnv` and `ToolVectorEnv`. Without a client the tools are in this process."""

    suite: TaskSuite
    rules: EpisodeConfig
    client: ToolClient | None


def make_client(server_url: str | None, suite: ServedSuite) -> ToolClient | None:
    """A client for the server of the suite's tools, if there is one."""
    return None if server_url is None else HttpToolClient(server_url, suite=suite)


def make_parts(make: Callable[..., Parts], arguments: Mapping[str, Any]) -> Parts:
    """`make(**arguments)`. Raises `ConfigurationError` for an argument that it does not have."""
    valid = signature(make).parameters
    unknown = sorted(arguments.keys() - valid.keys())
    if unknown:
        raise ConfigurationError(f"{', '.join(unknown)}: no such argument; there are {', '.join(valid)}, render_mode")
    return make(**arguments)
