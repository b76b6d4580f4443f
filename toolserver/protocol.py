"""uvicorn's HTTP protocol, with a look at whether the request is known before it is parsed."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from toolserver.recall import MEMORY, RAW_REQUEST, RequestMemory


class RecallingProtocol(HttpToolsProtocol):
    """Answers requests that the application's `RequestMemory` knows; leaves the others, and all of HTTP, to uvicorn.

    What comes in one piece while nothing else is under way on the connection is one whole request when it equals one:
    then the parser, which stands between two messages, need not see it. Such a request's bytes are told to the
    application, which keeps those whose answer cannot change.

    An application without such a memory is served as uvicorn serves it, and so is everything when requests are logged.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._memory: RequestMemory | None = None if config.access_log else app_state.get(MEMORY)
        self._begun = self._ended = 0  # messages that the parser has met
        self._active = 0.0  # when a request was answered from memory last, by the loop's clock

    def data_received(self, data: bytes) -> None:
        """Answer `data` from memory, or have it parsed."""
        if self._memory is None or not self._is_idle():
            super().data_received(data)
            return
        answer = self._memory.answer(data)
        if answer is not None:
            self._write(answer)
            return
        begun = self._begun
        super().data_received(data)
        if self._begun == begun + 1 and self._stays_open():
            self.scope[RAW_REQUEST] = data  # type: ignore[literal-required]  # its task starts later

    def on_message_begin(self) -> None:
        """A message begins."""
        self._begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A message is complete."""
        self._ended += 1
        super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless a request was answered from memory since the timer was set."""
        idle = self.loop.time() - self._active
        if idle < self.timeout_keep_alive:
            self._close_after(self.timeout_keep_alive - idle)
        else:
            super().timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        """Whether the parser stands between two messages, and all answers were sent and taken."""
        return (
            self._begun == self._ended
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
        )

    def _stays_open(self) -> bool:
        """Whether the message that began last is complete and asks for nothing but an answer.

        Its answer must be the application's alone: no header of the server's, no `100 Continue`, no end. A WebSocket
        handshake gets no cycle: the server hands it and its connection on.
        """
        return (
            self._begun == self._ended
            and self.cycle is not None
            and self.cycle.scope is self.scope
            and self.cycle.keep_alive
            and not self.expect_100_continue
            and not self.server_state.default_headers
        )

    def _write(self, answer: bytes) -> None:
        self.server_state.total_requests += 1
        self._active = self.loop.time()  # cheaper than setting the timer anew each time
        if self.timeout_keep_alive_task is None:
            self._close_after(self.timeout_keep_alive)
        self.transport.write(answer)

    def _close_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
