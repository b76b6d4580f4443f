"""Bodies of applications that bound them alone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from toolserver.http.request_body import BoundedBody


async def length(request: Request) -> PlainTextResponse:
    body = await request.body()
    return PlainTextResponse(f"{len(body)} {await request.is_disconnected()}")


APP = BoundedBody(Starlette(routes=[Route("/", length, methods=["GET", "POST"])]), 10)


def answer(parts: list[bytes], headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes, int]:
    """Status and body of the answer to a request, and the number of parts of its body that were read."""
    sent: list[Any] = []
    taken = 0

    def messages() -> Iterator[Any]:
        for number, part in enumerate(parts, 1):
            yield {"type": "http.request", "body": part, "more_body": number < len(parts)}
        yield {"type": "http.disconnect"}

    left = messages()

    async def receive() -> Any:
        nonlocal taken
        taken += 1
        return next(left)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    asyncio.run(APP(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent), taken


@pytest.mark.parametrize("parts", [[b""], [b"0123456789"], [b"01234", b"", b"56789"]])
def test_an_application_gets_a_body_within_the_limit(parts: list[bytes]) -> None:
    """Once, and after it the end of the connection."""
    status, text, _ = answer(parts, [])
    assert (status, text) == (200, b"%d True" % len(b"".join(parts)))


@pytest.mark.parametrize(
    ("parts", "headers", "read"),
    [
        ([b"x"], [(b"content-length", b"11")], 0),
        ([b"01234567890", b"x"], [], 1),
        ([b"0123456789", b"0", b"x"], [], 2),
    ],
)
def test_a_body_above_the_limit_is_read_no_further(
    parts: list[bytes], headers: list[tuple[bytes, bytes]], read: int
) -> None:
    assert answer(parts, headers) == (413, b'{"detail":"request body larger than 10 bytes"}', read)
