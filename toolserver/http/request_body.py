"""Request bodies, read within their limits and parsed as JSON."""

import asyncio
import json
from email.message import Message as EmailMessage
from time import monotonic
from typing import Any

from starlette.types import Message, Receive

from toolserver.calls.json_parsing import cut_nesting
from toolserver.http.auth import Rejection

JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
"""The usual spellings of the content type of JSON. There are others; see `parse_exactly`."""


class Disconnect(Exception):  # noqa: N818 - an event, not a defect
    """The client closed the connection before its body was complete."""


class BodyReader:
    """Reads whole bodies.

    A timer per body costs more than reading it. So the reader stores the time at which each began, and `expire`,
    called about once a second, cancels those that exceed the timeout.

    Args:
        limit: Maximum number of bytes.
        timeout: Seconds until all of a body must have arrived.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._begun: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()

    async def read(self, receive: Receive, announced: bytes) -> bytes:
        """Read a body.

        Args:
            receive: ASGI's function that gives the parts of the body.
            announced: The request's `Content-Length`, empty without one.

        Raises:
            Rejection: 413 for a body above the limit, 408 for one that exceeds the timeout.
            Disconnect: The client closed the connection.
        """
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_large()
        task = asyncio.current_task()
        assert task is not None
        self._begun[task] = monotonic()
        try:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body: bytes = message.get("body", b"")
                if len(body) > self._limit:
                    raise self._too_large()
                return body
            return await self._join(message, receive)
        except asyncio.CancelledError:
            if task not in self._expired:
                raise
            self._expired.discard(task)
            task.uncancel()
            raise Rejection(408, f"request body did not come within {self._timeout:g} seconds") from None
        finally:
            del self._begun[task]

    def expire(self) -> None:
        """Cancel the reading of bodies that exceed the timeout."""
        latest = monotonic() - self._timeout
        for task, begun in self._begun.items():
            if begun < latest and task not in self._expired:
                self._expired.add(task)
                task.cancel()

    async def _join(self, message: Message, receive: Receive) -> bytes:
        parts, size = [], 0
        while message["type"] == "http.request":
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self._limit:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(parts)
            message = await receive()
        raise Disconnect

    def _too_large(self) -> Rejection:
        return Rejection(413, f"request body larger than {self._limit} bytes")


def parse_exactly(body: bytes, content_type: bytes) -> Any:
    """The JSON value of a body, as Python's parser reads it: with `NaN`, lone surrogates and integers of any size.

    A body of another content type is returned as it is, for the validation to refuse it. Values beyond the
    parser's recursion limit are cut, so that they are refused in their own call and not with the whole body.

    Raises:
        Rejection: 422 for an empty body or one that is not JSON, 400 for one that cannot be read at all.
    """
    if not body:
        raise Rejection(422, [{"loc": ["body"], "msg": "Field required", "type": "missing"}])
    if not _is_json(content_type):
        return body
    try:
        return json.loads(body)
    except RecursionError:
        return _read_cut(body)
    except json.JSONDecodeError as error:
        detail = [{"loc": ["body", error.pos], "msg": "JSON decode error", "type": "json_invalid"}]
        raise Rejection(422, detail) from None
    except ValueError:
        raise _unreadable() from None


def _read_cut(body: bytes) -> Any:
    try:
        return json.loads(cut_nesting(body.decode(json.detect_encoding(body), "surrogatepass")))
    except ValueError:
        raise _unreadable() from None


def _unreadable() -> Rejection:
    return Rejection(400, "There was an error parsing the body")


def _is_json(content_type: bytes) -> bool:
    if content_type in JSON_TYPES:
        return True
    header = EmailMessage()
    header["content-type"] = content_type.decode("latin-1")
    subtype = header.get_content_subtype()
    return header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
