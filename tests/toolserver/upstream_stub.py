"""An upstream server that speaks StableToolBench's `/rapidapi` protocol over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class UpstreamStub:
    """What it was asked, and where it listens."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


@contextmanager
def upstream_stub(answer: Callable[[dict[str, Any]], Any]) -> Iterator[UpstreamStub]:
    """Answers every request with `answer` of its JSON: an HTTP status to fail with, or anything to send as JSON."""
    stub = UpstreamStub()

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
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/rapidapi"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
