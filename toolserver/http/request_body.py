"""Request bodies, read within their limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from starlette.types import Message, Receive, Scope

from toolserver.http.admission import Rejection

_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


class Disconnect(Exception):  # noqa: N818 - an event, and none of the caller's business
    """The client went away before its body had come."""


class BodyReader:
    """Reads whole bodies.

    A timer per body would cost more than all the rest of reading it. So the reader notes when each began, and `expire`,
    called about once a second, ends those that take too long.

    Args:
        limit: Bytes at most.
        timeout: Seconds until all of a body must have come.
        clock: Seconds.
    """

    def __init__(self, limit: int, timeout: float, clock: Callable[[], float] = monotonic) -> None:
        self._limit = limit
        self._timeout = timeout
        self._clock = clock
        self._begun: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._too_large = Rejection(413, f"request body larger than {limit} bytes")
        self._too_slow = Rejection(408, f"request body did not come within {timeout:g} seconds")

    async def read(self, receive: Receive, announced: int) -> bytes | Rejection:
        """The body, or why it is not taken. Raises `Disconnect` when the client goes away.

        `announced` is the request's `Content-Length`, 0 when it says none.
        """
        if announced > self._limit:
            return self._too_large
        task = asyncio.current_task()
        assert task is not None
        self._begun[task] = self._clock()
        try:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body: bytes = message.get("body", b"")
                return body if len(body) <= self._limit else self._too_large
            return await self._join(message, receive)
        except asyncio.CancelledError:
            if task not in self._expired:
                raise
            self._expired.discard(task)
            task.uncancel()
            return self._too_slow
        finally:
            del self._begun[task]

    def expire(self) -> None:
        """End the reading of bodies that take longer than they may."""
        latest = self._clock() - self._timeout
        for task, begun in self._begun.items():
            if begun < latest and task not in self._expired:
                self._expired.add(task)
                task.cancel()

    async def _join(self, message: Message, receive: Receive) -> bytes | Rejection:
        parts, size = [], 0
        while message["type"] == "http.request":
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self._limit:
                return self._too_large
            if not message.get("more_body"):
                return b"".join(parts)
            message = await receive()
        raise Disconnect


def inspect_headers(scope: Scope) -> tuple[int, bool]:
    """A request's `Content-Length` (0 when it says none), and whether it says in so many words that it is JSON."""
    length, json = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"content-type":
            json = value in _JSON
    return length, json


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, and then what comes after it."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
