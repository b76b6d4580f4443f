"""The server's processes, logs and redirects under hostile or unlucky circumstances."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.toolserver.serving import make_cache, serving
from toolserver.testing import ServerProcess


@contextmanager
def command_line(*options: str, **environment: str) -> Iterator[tuple[httpx.Client, list[str]]]:
    """A client of `toolserver serve` without a state key; afterwards, all output of the server."""
    command, output = [sys.executable, "-m", "toolserver.cli", "serve", "--port", "0", *options], list[str]()
    own = {name: value for name, value in os.environ.items() if not name.startswith("TOOLSERVER_")} | environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=own) as server:
        try:
            assert server.stdout is not None
            output.append(server.stdout.readline())
            # The port is bound before the server accepts connections. Each request has a connection of its own.
            limits = httpx.Limits(max_keepalive_connections=0)
            transport = httpx.HTTPTransport(retries=50, limits=limits)
            with httpx.Client(base_url=output[0].split()[2], transport=transport, timeout=60) as client:
                yield client, output
        finally:
            server.terminate()
        output[0] += server.stdout.read()


def test_no_answer_redirects_to_the_host_that_the_caller_names(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path)) as client:
        for path in ("/v1/apis/", "/v1/info/", "/healthz/", "/docs/", "/v1/apis/a/b/c/"):
            answer = client.get(path, headers={"host": "evil.example"}, follow_redirects=False)
            assert answer.status_code == 404
            assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_access_log_has_the_path_and_never_the_query(tmp_path: Path, workers: int) -> None:
    options = ["--cache", str(make_cache(tmp_path)), "--workers", str(workers), "--access-log"]
    with command_line(*options) as (client, output):
        client.get("/v1/apis", params={"q": "my-secret"})
        client.get("/nowhere/a%3Fb%0A?key=my-secret")
    log = output[0]
    assert '"GET /v1/apis HTTP/1.1" 200' in log
    assert '"GET /nowhere/a%3Fb%0A HTTP/1.1" 404' in log
    assert "my-secret" not in log


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """The port is free again for the next server."""
    arguments = ["--cache", str(make_cache(tmp_path)), "--workers", "2"]
    with ServerProcess(arguments) as server:
        workers = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + 15
        while (alive := [each for each in workers if _runs(each)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        for each in alive:
            each.kill()
        assert not alive
    with ServerProcess(arguments, port=int(server.url.rsplit(":", 1)[1])) as after:
        assert httpx.get(f"{after.url}/readyz").status_code == 200


def _runs(process: psutil.Process) -> bool:
    """Orphans that ended may stay as zombies, which hold no port."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
