"""Request bodies, read within their limits and parsed as JSON."""

import json
from email.message import Message as EmailMessage
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolserver.calls.json_parsing import cut_nesting
from toolserver.http.auth import Rejection, refuse

JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
"""The usual spellings of the content type of JSON. There are others; see `parse_exactly`."""


class Disconnect(Exception):  # noqa: N818 - an event, not a defect
    """The client closed the connection before its body was complete."""


class BoundedBody:
    """ASGI application around `app` that answers a request with a longer body with 413. Bodies are read as a whole.

    Args:
        app: Application.
        limit: Maximum number of bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive, dict(scope["headers"]).get(b"content-length", b""), self._limit)
        except Disconnect:
            return
        except Rejection as rejection:
            await refuse(send, rejection)
            return
        read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_read() -> Message:
            return read.pop() if read else await receive()  # what follows a body is the end of the connection

        await self._app(scope, receive_read, send)


async def read_body(receive: Receive, announced: bytes, limit: int) -> bytes:
    """Read a whole body. The connection bounds the time (`toolserver.http.protocol`).

    Args:
        receive: ASGI's function that gives the parts of the body.
        announced: The request's `Content-Length`, empty without one.
        limit: Maximum number of bytes.

    Raises:
        Rejection: 413 for a body above the limit.
        Disconnect: The client closed the connection.
    """
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def _too_large(limit: int) -> Rejection:
    return Rejection(413, f"request body larger than {limit} bytes")


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
