"""Request bodies, read within their limits."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from toolserver.admission import Refusal

_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


class Disconnect(Exception):  # noqa: N818 - an event, and none of the caller's business
    """The client went away before its body had come."""


class BodyReader:
    """Reads whole bodies.

    Args:
        limit: Bytes at most.
        timeout: Seconds until all of it must have come.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._too_large = Refusal(413, f"request body larger than {limit} bytes")
        self._too_slow = Refusal(408, f"request body did not come within {timeout:g} seconds")

    async def read(self, scope: Scope, receive: Receive) -> bytes | Refusal:
        """The body, or why it is not taken. Raises `Disconnect` when the client goes away."""
        if announced_length(scope) > self._limit:
            return self._too_large
        try:
            async with asyncio.timeout(self._timeout):
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body"):
                    body: bytes = message.get("body", b"")
                    return body if len(body) <= self._limit else self._too_large
                return await self._join(message, receive)
        except TimeoutError:
            return self._too_slow

    async def _join(self, message: Message, receive: Receive) -> bytes | Refusal:
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


def announced_length(scope: Scope) -> int:
    """The `Content-Length` of a request; 0 when it says none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def is_json(scope: Scope) -> bool:
    """Whether the request says, in one of the usual spellings, that its body is JSON."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            return value in _JSON
    return False


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
