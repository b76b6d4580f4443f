"""Servers over a real socket that answer as a test tells them: any JSON, or as a chat endpoint of OpenAI does."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

Reply = dict[str, Any] | int
"""An assistant message, or an HTTP status to fail with."""


class Stub:
    """Requests of a stub, and its address."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


@contextmanager
def json_stub(answer: Callable[[dict[str, Any]], Any], path: str) -> Iterator[Stub]:
    """Answers every request with `answer` of its JSON: an HTTP status to fail with, or anything to send as JSON."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.requests.append(request)
            stub.headers.append(dict(self.headers))
            reply = answer(request)
            status, content = (reply, b"") if isinstance(reply, int) else (200, json.dumps(reply).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def upstream_stub(answer: Callable[[dict[str, Any]], Any]) -> Iterator[Stub]:
    """A server of StableToolBench's `/rapidapi` protocol."""
    with json_stub(answer, "/rapidapi") as stub:
        yield stub


@contextmanager
def chat_stub(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[Stub]:
    """A chat endpoint; it makes one reply at a time."""
    lock = Lock()

    def answer(request: dict[str, Any]) -> Any:
        with lock:
            message = reply(request)
        return message if isinstance(message, int) else {"choices": [{"message": message}]}

    with json_stub(answer, "/v1") as stub:
        yield stub


def calling(name: str, /, content: str | None = None, **arguments: Any) -> dict[str, Any]:
    """An assistant message that calls one function."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
    }
