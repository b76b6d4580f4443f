"""A minimal ASGI application: the lower bound of the cost of an answer over ASGI.

python -m benchmarks.speed.echo_server --port 8000
"""

from __future__ import annotations

import tyro
import uvicorn
from starlette.types import Receive, Scope, Send

_BODY = b'{"error": "", "response": "' + b"x" * 300 + b'"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request and answer with about 300 bytes."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def main(host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the echo.

    Example: `python -m benchmarks.speed.echo_server --port 8001`

    Args:
        host: Address to listen on.
        port: Port to listen on.
    """
    uvicorn.run(
        app, host=host, port=port, access_log=False, server_header=False, date_header=False, lifespan="off",
        proxy_headers=False, log_level="warning",
    )  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.speed.echo_server")
