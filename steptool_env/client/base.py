"""What carries calls to the tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from toolserver.catalog.api_schema import ToolCall, ToolResponse


class ToolClient(Protocol):
    """Carries calls to the tools. The answers do not depend on which client carries them."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """Answer `calls`, in their order. Raises `ToolTransportError` when the tools are out of reach."""
        ...

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        """The same answers, each as soon as it is there; so is the error, after the answers before it."""
        ...

    def close(self) -> None:
        """Release connections; the client is not used afterwards."""
        ...
