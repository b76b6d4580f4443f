"""Writes of a response: head and body in one, and neither waits for what comes later."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest
import uvicorn

from toolserver.http.protocol import BoundedProtocol, ConnectionLimits

LIMITS = ConnectionLimits(head_bytes=4096, head_timeout=5.0, request_timeout=5.0, connections=8)
Send = Callable[[dict[str, Any]], Awaitable[None]]
REQUEST = b"%s / HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*, length: int | None = None) -> dict[str, Any]:
    fields = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": fields}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Recorder(asyncio.Protocol):
    """Client that keeps what it reads, and can wait for a text in it."""

    def __init__(self) -> None:
        self.data = b""
        self.arrived = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.arrived.set()

    async def until(self, text: bytes) -> bytes:
        while text not in self.data:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)
        return self.data


class Counted(BoundedProtocol):
    """Protocol that counts the writes to its connection."""

    writes = 0
    newest: "Counted"

    def connection_made(self, transport: Any) -> None:
        Counted.newest = self
        write = transport.write

        class Transport:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                Counted.writes += 1
                write(data)

        super().connection_made(cast(asyncio.Transport, Transport()))


async def exchange(app: Callable[..., Awaitable[None]], talk: Callable[[Recorder, Any], Awaitable[None]]) -> int:
    """Serve an application to one client; the number of writes."""
    config = uvicorn.Config(
        app, http=cast(Any, partial(Counted, limits=LIMITS)), port=0, lifespan="off", log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    Counted.writes = 0
    loop = asyncio.get_running_loop()
    address = server.servers[0].sockets[0].getsockname()
    transport, client = await loop.create_connection(Recorder, *address[:2])
    try:
        await talk(client, transport)
    finally:
        transport.close()
        server.force_exit = True
        await server.shutdown()
    return Counted.writes


def test_a_response_is_written_at_once() -> None:
    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        await send(head(length=5))
        await send(body(b"whole"))

    async def talk(client: Recorder, transport: Any) -> None:
        for number in range(1, 4):
            transport.write(REQUEST % b"GET")
            while (await client.until(b"whole")).count(b"whole") < number:
                client.arrived.clear()
                await asyncio.wait_for(client.arrived.wait(), 10)

    assert asyncio.run(exchange(app, talk)) == 3


def test_pipelined_responses_keep_their_order() -> None:
    seen = iter(range(10))

    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        number = next(seen)
        await asyncio.sleep(0)
        await send(head())
        await send(body(b"<%d" % number, more=True))
        await send(body(b"%d>" % number))

    async def talk(client: Recorder, transport: Any) -> None:
        transport.write(10 * (REQUEST % b"GET"))
        data = await client.until(b"9>")
        assert [data.index(b"%d>" % number) for number in range(10)] == sorted(
            data.index(b"%d>" % n) for n in range(10)
        )

    asyncio.run(exchange(app, talk))


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_head_does_not_wait_for_a_body_that_is_not_there_yet(method: bytes) -> None:
    """The client of an event stream waits for the head before it does anything."""

    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        await send(head())
        await asyncio.wait_for(client_has_head.wait(), 10)
        await send(body(b"event", more=True))
        await send(body(b""))

    async def talk(client: Recorder, transport: Any) -> None:
        transport.write(REQUEST % method)
        data = await client.until(b"\r\n\r\n")
        assert b"event" not in data
        client_has_head.set()
        if method == b"GET":
            await client.until(b"event")

    client_has_head = asyncio.Event()
    asyncio.run(exchange(app, talk))


def test_a_shutdown_loses_no_head_that_waits_for_its_body() -> None:
    """The answer to HEAD has no body, so that its head is written last."""

    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        await send(head())
        await send(body(b""))
        Counted.newest.shutdown()

    async def talk(client: Recorder, transport: Any) -> None:
        transport.write(REQUEST % b"HEAD")
        await client.until(b"\r\n\r\n")

    assert asyncio.run(exchange(app, talk)) == 1
