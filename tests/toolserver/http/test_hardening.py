"""The server's processes, logs and redirects under hostile or unlucky circumstances."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.toolserver.serving import make_cache, serving
from toolserver.testing import ServerProcess


def test_no_answer_redirects_to_the_host_that_the_caller_names(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path)) as client:
        for path in ("/v1/apis/", "/v1/info/", "/healthz/", "/docs/", "/v1/apis/a/b/c/"):
            answer = client.get(path, headers={"host": "evil.example"}, follow_redirects=False)
            assert answer.status_code == 404
            assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_access_log_has_the_path_and_never_the_query(tmp_path: Path, workers: int) -> None:
    command = [sys.executable, "-m", "toolserver.cli", "serve", "--port", "0", "--access-log"]
    options = ["--cache", str(make_cache(tmp_path)), "--workers", str(workers)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[2]
            transport = httpx.HTTPTransport(retries=50)  # the port is bound before the server accepts connections
            with httpx.Client(transport=transport, timeout=60) as client:
                client.get(f"{url}/v1/apis", params={"q": "my-secret"})
                client.get(f"{url}/nowhere/a%3Fb%0A?key=my-secret")
        finally:
            server.terminate()
        log = server.stdout.read()
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
