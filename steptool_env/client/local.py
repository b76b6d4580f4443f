"""Client for tools in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steptool_env.suites.base import TaskSuite
from toolserver.catalog.api_schema import ToolCall, ToolResponse
from toolserver.service.service import ToolService


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
                    decoded if isinstance(decoded, ToolResponse) else service.call(decoded)
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
