"""Servers on this machine, called by web pages."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from toolserver.http.own_pages import OwnPages


async def hello(_request: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


APP = Starlette(routes=[Route("/", hello), WebSocketRoute("/ws", talk)])


@pytest.mark.parametrize(
    ("listens", "origin", "host", "taken"),
    [
        ("127.0.0.1", None, "127.0.0.1:8000", True),
        ("127.0.0.1", "http://localhost:3000", "127.0.0.1:8000", True),
        ("127.0.0.1", "https://evil.example", "127.0.0.1:8000", False),
        ("localhost", "http://evil.example:8000", "evil.example:8000", False),  # a name that was bound to this machine
        ("127.0.0.1", "null", "127.0.0.1:8000", False),  # a page without an address
        ("0.0.0.0", "http://envs.example", "envs.example", True),
        ("0.0.0.0", "http://evil.example", "envs.example", False),
    ],
)
def test_only_pages_of_the_server_and_of_this_machine_may_call(
    listens: str, origin: str | None, host: str, taken: bool
) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    client = TestClient(OwnPages(APP, listens))
    assert client.get("/", headers=headers).status_code == (200 if taken else 403)
    if taken:
        with client.websocket_connect("/ws", headers=headers) as socket:
            assert socket.receive_text() == "hello"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers=headers):
            pass
