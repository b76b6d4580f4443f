"""Servers under test as child processes."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from toolserver.children import end, start

ROOT = Path(__file__).parents[2]
"""Folder from which `benchmarks` is imported."""
_START_SECONDS = 60.0


class Server(NamedTuple):
    """Address and process id of a server."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that the server has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def serve_app(
    app: str, *flags: str, folder: Path = ROOT, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Serve an ASGI application, `module:attribute` in `folder`, with uvicorn on a free port of 127.0.0.1.

    `settings` are environment variables of the server.

    Raises:
        RuntimeError: The server ended, or did not answer within a minute.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = start(
        ["uvicorn", app, "--port", str(port), *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **(settings or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield Server(url, process.pid)
    finally:
        end(process)


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"{url} does not answer")
