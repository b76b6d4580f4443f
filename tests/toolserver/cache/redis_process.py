"""A Redis server for tests, on a free port, with nothing kept when it ends."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

_START_SECONDS = 30.0


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[str]:
    """Runs `redis-server`; yields its `host:port`. Ended by its own process id."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs `redis-server` on PATH (Debian: apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", "", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"LC_ALL": "C"})
    try:
        _wait(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until it answers; that it wants a password is an answer."""
    deadline = time.monotonic() + _START_SECONDS
    with redis.Redis(port=port, retry=None) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.ping()
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
    pytest.fail(f"redis-server did not answer (status {process.returncode})")
