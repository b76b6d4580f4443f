"""Servers over a real socket that answer as a test tells them: any JSON, or as a chat endpoint of OpenAI does."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

Reply = dict[str, Any] | int | tuple[int, Any]
"""An assistant message, or an HTTP status to fail with, if need be with a body: a text, or a JSON value."""


class QuietHandler(BaseHTTPRequestHandler):
    """Answers by `post` and `get`, and logs nothing."""

    server: Any

    def do_POST(self) -> None:
        self.post(self.rfile.read(int(self.headers["content-length"])))

    def post(self, body: bytes) -> None:
        self.send_error(501)

    def do_GET(self) -> None:
        self.get()

    def get(self) -> None:
        self.send_error(501)

    def reply(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with the default, 5, more connections at once wait for packets that are sent again


@contextmanager
def running(handler: type[QuietHandler], **attributes: Any) -> Iterator[Any]:
    """A server in a thread, with attributes that its handlers use."""
    with _Server(("127.0.0.1", 0), handler) as server:
        vars(server).update(attributes, daemon_threads=True)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:  # or a failing test would wait for the thread for ever
            server.shutdown()
            thread.join()


class Stub:
    """Requests of a stub, and its address."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


@contextmanager
def json_stub(answer: Callable[[dict[str, Any]], Any], path: str) -> Iterator[Stub]:
    """Answers every request with `answer` of its JSON: a status to fail with, alone or with a body, or JSON to send."""
    stub = Stub()

    class Handler(QuietHandler):
        def post(self, body: bytes) -> None:
            request = json.loads(body)
            stub.requests.append(request)
            stub.headers.append(dict(self.headers))
            reply = answer(request)
            status, content = (
                reply if isinstance(reply, tuple) else (reply, "") if isinstance(reply, int) else (200, reply)
            )
            is_text = isinstance(reply, int | tuple) and isinstance(content, str)
            text = content if is_text else json.dumps(content)
            self.reply(status, text.encode())

    with running(Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}{path}"
        yield stub


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
        return message if isinstance(message, int | tuple) else {"choices": [{"message": message}]}

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
