"""`steptool view`."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, cast

import tyro
import uvicorn
from rich.console import Console

from agents.errors import ConfigurationError
from toolserver.http.protocol import BoundedProtocol, ConnectionLimits

if TYPE_CHECKING:
    from agents.view.workspace import Workspace

_SHUTDOWN_SECONDS = 2  # for requests in progress when the server stops
_LIMITS = ConnectionLimits(head_bytes=2**16, head_timeout=10.0, request_timeout=60.0, connections=512)
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Command:
    """Show run folders in the browser, live: runs and their curves, episodes call by call, forks, tasks and tools.

    The page only reads the folders, and answers this machine alone. Its index of episodes is kept in the user's cache
    directory.

    Example: steptool view runs

    Example: steptool view runs/a runs/b --port 0
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")] = (Path("runs"),)
    """Run folders, or folders that hold runs at any depth."""
    port: int = 8765
    """Port to listen on; 0 takes a free one, shown in the first line of output."""
    index: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File of the index; by default view.sqlite in the user's cache directory."""

    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Directory of recorded calls (`toolserver import`) to show among the tools."""

    def run(self) -> None:
        """Serve until the process is stopped."""
        from agents.view.app import create_app  # with packages of the extra `view`
        from agents.view.workspace import Workspace

        if self.cache is not None and not self.cache.is_dir():
            raise ConfigurationError(f"cache={str(self.cache)!r}: no such directory; `toolserver import` writes one")
        index = self.index or _cache_directory() / "view.sqlite"
        with Workspace(self.runs or (Path("runs"),), index) as workspace, closing(_listen(self.port)) as listening:
            config = uvicorn.Config(
                create_app(workspace, cache=self.cache),
                http=cast(Any, partial(BoundedProtocol, limits=_LIMITS)),
                log_level="warning",
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
            console = Console()
            address = f"http://{HOST}:{listening.getsockname()[1]}"
            console.print(f"steptool view on {address}", highlight=False, soft_wrap=True)
            console.print("open it in a browser; Ctrl-C ends it", highlight=False)
            _Server(config, workspace).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Server that ends its event streams before it waits for requests in progress."""

    def __init__(self, config: uvicorn.Config, workspace: Workspace) -> None:
        super().__init__(config)
        self._workspace = workspace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after a signal."""
        self._workspace.close()
        super().handle_exit(signal.Signals(sig), frame)


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)  # before the address is printed: who reads it may connect at once
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(f"port: cannot listen on {HOST}:{port} ({error}); try --port 0") from None
    return listening


def _cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steptool-env"
