"""Clients of the tools: in process or over HTTP."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from steptool_env.client.http import HttpToolClient
from steptool_env.client.retries import API_KEY_VARIABLE
from steptool_env.suites.base import TaskSuite
from steptool_env.suites.server_match import ServedSuite
from toolserver.catalog.api_schema import ToolCall, ToolResponse
from toolserver.service.service import ToolService

__all__ = ["API_KEY_VARIABLE", "HttpToolClient", "LocalToolClient", "ToolClient", "make_client"]


class ToolClient(Protocol):
    """Sends calls to the tools. The answers do not depend on the client."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """Answers to `calls`, in their order. Raises `ToolTransportError` if the tools cannot be reached."""

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        """The same answers, each as soon as it is available; an error is raised after the answers before it."""

    def close(self) -> None:
        """Release connections; the client is not used afterwards."""


class LocalToolClient:
    """Calls a suite's tools directly; nothing is encoded.

    The tools belong to the suite, which other environments share, so `close` leaves them open. They are loaded at the
    first call. A pickled client holds the suite and not the tools.
    """

    def __init__(self, suite: TaskSuite) -> None:
        self._suite = suite
        self._service: ToolService | None = None

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """See `ToolClient.call_many`."""
        if self._service is None:
            self._service = self._suite.service()
        service, codec = self._service, self._service.codec
        for call in calls:
            if codec is not None and isinstance(call.state, str):  # the opening token of an episode
                return [
                    decoded if isinstance(decoded, ToolResponse) else service.call_many([decoded])[0]
                    for decoded in map(codec.decode_call, calls)
                ]
        return service.call_many(calls)

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        """See `ToolClient.stream`."""
        yield from self.call_many(calls)

    def close(self) -> None:
        """See `ToolClient.close`."""

    def __getstate__(self) -> dict[str, object]:
        return {"_suite": self._suite, "_service": None}


def make_client(server_url: str | None, suite: ServedSuite) -> ToolClient | None:
    """Client for the server at `server_url`; `None` without one (the tools are in this process)."""
    return None if server_url is None else HttpToolClient(server_url, suite=suite)
