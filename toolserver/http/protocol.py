"""uvicorn's HTTP protocol, with a short cut around it for requests whose head is known."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from toolserver.http.shortcut import RAW_REQUEST, SHORTCUT, Shortcut

KNOWN_RELEASE = "0.54"
"""The release of uvicorn that the short cut is tested with; it uses names that uvicorn does not promise."""


def http_protocol() -> type[HttpToolsProtocol]:
    """`ShortcutProtocol`, or uvicorn's own under any other release than the known one: slower, but right."""
    return ShortcutProtocol if uvicorn.__version__.startswith(f"{KNOWN_RELEASE}.") else HttpToolsProtocol


class ShortcutProtocol(HttpToolsProtocol):
    """Answers requests by the application's `Shortcut`; leaves the others, and all of HTTP, to uvicorn.

    What comes in one piece while nothing else is under way on the connection is one whole request when the short cut
    says so: then the parser, which stands between two messages, need not see it. The bytes of a request that the parser
    has seen are told to the application, which learns from those that the hot path answers.

    An application without a short cut is served as uvicorn serves it, and so is everything when requests are logged.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shortcut: Shortcut | None = None if config.access_log else app_state.get(SHORTCUT)
        self._begun = self._ended = 0  # messages that the parser has met
        self._active = 0.0  # when a request was answered by the short cut last, by the loop's clock

    def data_received(self, data: bytes) -> None:
        """Answer `data` by the short cut, or have it parsed."""
        if self._shortcut is None or not self._is_idle():
            super().data_received(data)
            return
        answer = self._shortcut.answer(data)
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
        """Close the connection, unless a request was answered by the short cut since the timer was set."""
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
