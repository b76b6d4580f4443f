"""OpenEnv (`openenv-core`): the echo environment that `openenv init` makes, in process and over its WebSocket.

It answers every step with the text that it was given, so all that is measured is the way there and back.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from time import perf_counter
from typing import Any

import httpx

from benchmarks.episodes import Played, Script
from benchmarks.peers import Contestants

_NAME = "echo_env"
_START_SECONDS = 60.0


@contextmanager
def openenv(scripts: Sequence[Script]) -> Iterator[Contestants]:
    """The echo environment called directly, and through its client from its server in a process of its own."""
    import_module("openenv.core")
    with tempfile.TemporaryDirectory() as folder:
        _generate(folder)
        sys.path.insert(0, folder)
        try:
            package = import_module(_NAME)
            inside = import_module(f"{_NAME}.server.{_NAME}_environment").EchoEnvironment()
            with _server(folder) as url, package.EchoEnv(base_url=url).sync() as client:
                yield {
                    "OpenEnv echo, in process": lambda: _play(inside, package.EchoAction, scripts),
                    "OpenEnv echo, WebSocket": lambda: _play(client, package.EchoAction, scripts),
                }
        finally:
            sys.path.remove(folder)


def _generate(folder: str) -> None:
    """Let OpenEnv write its echo environment as a package into `folder`."""
    command = [sys.executable, "-m", "openenv.cli", "init", _NAME, "--output-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ImportError(f"openenv init failed: {done.stderr[-500:]}")


@contextmanager
def _server(folder: str) -> Iterator[str]:
    """The environment's own server on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        handle, port = listening.fileno(), listening.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", f"{_NAME}.server.app:app", "--fd", str(handle), "--no-access-log"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            pass_fds=[handle],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)  # between two looks
    raise ImportError("OpenEnv's echo server did not start")


def _play(env: Any, make_action: Callable[..., Any], scripts: Sequence[Script]) -> Played:
    steps, stepping, resetting = 0, 0.0, 0.0
    for script in scripts:
        begin = perf_counter()
        env.reset()
        begun = perf_counter()
        for action in script.actions:
            env.step(make_action(message=action))
        stepping += perf_counter() - begun
        resetting += begun - begin
        steps += len(script.actions)
    return Played(len(scripts), steps, stepping, resetting)
