"""A tool server as a child process, for tests, benchmarks and demonstrations."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from secrets import token_urlsafe
from typing import Self

import httpx

from toolserver import children
from toolserver.errors import ToolServerError

_STATE_KEY = token_urlsafe(32)
_START_SECONDS = 60.0
_END_SECONDS = 15.0  # of a server that closed its output


class ServerProcess:
    """Runs `toolserver serve` on 127.0.0.1, as a context manager.

    Entering waits until the server answers; leaving terminates it by its process id. It also ends with this process.
    All servers that a process starts have the same state key, so that one of them continues the episodes of another.

    Args:
        arguments: Flags of `toolserver serve`, without `--host` and `--port`.
        settings: Settings that have no flag, by the names of their fields.
        port: Port to listen on; a free one by default.

    Attributes:
        url: Address of the server, once entered.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        settings: Mapping[str, object] | None = None,
        port: int = 0,
    ) -> None:
        self.url = ""
        self._words = ["toolserver.cli", "serve", *arguments, "--port", str(port)]
        given = {f"TOOLSERVER_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        self._environment = {"TOOLSERVER_STATE_KEY": _STATE_KEY, **os.environ, **given}
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Process id of the server (with several workers: of their parent)."""
        if self._process is None:
            raise ToolServerError("the server was not started; use it as a context manager")
        return self._process.pid

    def __enter__(self) -> Self:
        with tempfile.TemporaryFile("w+") as errors:
            self._process = children.start(self._words, stdout=subprocess.PIPE, stderr=errors, env=self._environment)
            try:
                self.url = self._read_url()
                self._wait_until_ready()
            except BaseException as error:
                self.close()
                if isinstance(error, ToolServerError):
                    errors.seek(0)
                    shown = errors.read()[-2000:].strip() or "no error output"
                    raise ToolServerError(f"{error}: {shown}") from None
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Terminate the server and its workers."""
        if self._process is not None:
            children.end(self._process)

    def _read_url(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            self._process.wait(_END_SECONDS)
            raise ToolServerError(f"the tool server ended with status {self._process.returncode}")
        return found[0]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5.0).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            if self._process.poll() is not None:
                raise ToolServerError(f"the tool server ended with status {self._process.returncode}")
            time.sleep(0.02)
        raise ToolServerError(f"the tool server did not answer within {_START_SECONDS:g} seconds")
