"""A chat endpoint that speaks OpenAI's protocol over a real socket and says what a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

Reply = dict[str, Any] | int
"""An assistant message, or an HTTP status to fail with."""


class ChatStub:
    """Answers every request by `reply` (of the request's JSON) and keeps what it was asked."""

    def __init__(self, reply: Callable[[dict[str, Any]], Reply]) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._lock = Lock()

    def handle(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            return self.reply(request)


@contextmanager
def chat_stub(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[ChatStub]:
    stub = ChatStub(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = stub.handle(request, dict(self.headers))
            content = b"" if isinstance(answer, int) else json.dumps({"choices": [{"message": answer}]}).encode()
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def calling(name: str, /, content: str | None = None, **arguments: Any) -> dict[str, Any]:
    """An assistant message that calls one function."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
    }
