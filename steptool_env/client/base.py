"""Protocol of the clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from toolserver.catalog.api_schema import ToolCall, ToolResponse


class ToolClient(Protocol):
    """Sends calls to the tools. The answers do not depend on the client."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """Answers to `calls`, in their order. Raises `ToolTransportError` if the tools cannot be reached."""

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        """The same answers, each as soon as it is available; an error is raised after the answers before it."""

    def close(self) -> None:
        """Release connections; the client is not used afterwards."""
