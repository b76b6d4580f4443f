"""`steptool serve-policy`."""

import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
import uvicorn
from starlette.types import ASGIApp

from agents.errors import ConfigurationError
from toolserver.http.own_pages import OwnPages
from toolserver.http.protocol import Http1Protocol
from toolserver.http.request_body import BoundedBody
from toolserver.settings import MAX_BODY_BYTES, host_names

if TYPE_CHECKING:
    from agents.gateway.models import ServedModel


AllowedHosts = Annotated[str | None, tyro.conf.arg(metavar="NAMES")]
"""Type of the flag `--allowed-hosts`."""


@dataclass(frozen=True)
class Command:
    """Serve a policy: to agents by OpenAI's chat completions API, and to rollouts on another machine.

    Agents get tools and tool calls, streaming, log-probabilities and token ids. The tokens of a conversation are kept,
    so that a later turn extends them and the KV cache holds its beginning. Rollouts (`steptool train --rollout.engine
    URL`) use the part of vLLM's completions API that they need.

    There are no keys, and every client can replace the weights: keep it in a trusted network. For models that do not
    fit one device, or that must be fast, use vLLM.

    Example: steptool serve-policy --checkpoint runs/sft --port 8000
    """

    checkpoint: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of a checkpoint; or of a run, whose newest checkpoint has the name of the folder, and whose others are
    served too, as NAME/checkpoint-N; or `nano-sft`."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    allowed_hosts: AllowedHosts = None
    """Host names by which the server may be called beside addresses and names without a dot, separated by commas: as
    of `toolserver serve`."""
    device: str = "cpu"
    """Device of the model."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Weight dtype."""
    format: str = "auto"
    """Format in which the model writes calls: react, openai, hermes, llama3 or `module:factory`. `auto` is that of its
    training, else that of its chat template."""
    conversations: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """Number of conversations whose KV cache is kept between two turns."""
    models: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """Number of checkpoints in memory; another one is loaded when it is asked for."""

    def run(self) -> None:
        """Serve until interrupted."""
        from agents.gateway.models import Models
        from agents.gateway.server import create_app
        from agents.models.checkpoint import checkpoints

        for name, value in (("conversations", self.conversations), ("models", self.models)):
            if value < 1:
                raise ConfigurationError(f"--{name} {value}: must be 1 or more")
        names = names_of(self.allowed_hosts)
        name = self.checkpoint.resolve().name
        folders = {name: self.checkpoint}
        folders |= {f"{name}/{each.name}": each for each in reversed(checkpoints(self.checkpoint))}
        first = self._load(name, self.checkpoint)
        models = Models({each: partial(self._load, each, folder) for each, folder in folders.items()}, self.models)
        with closing(listen(self.host, self.port)) as listening, closing(models):
            first.decoder.start()
            models.add(first)
            serve(create_app(models), "policy", listening, self.host, names)

    def _load(self, name: str, folder: Path) -> "ServedModel":
        from agents.gateway.decoder import Decoder
        from agents.gateway.models import ServedModel, default_format
        from agents.models.bundle import load_policy
        from agents.models.checkpoint import load_config, resolve_checkpoint

        bundle = load_policy(folder, device=self.device, dtype=self.dtype)
        call_format = self.format
        if call_format == "auto":
            call_format = default_format(bundle, load_config(resolve_checkpoint(folder)))
        return ServedModel(name, Decoder(bundle.policy, bundle.context, self.conversations), bundle.codec, call_format)


def names_of(allowed_hosts: str | None) -> list[str] | None:
    """Return the names of `--allowed-hosts`. Raises `ConfigurationError` for one that is not a host name."""
    try:
        return None if allowed_hosts is None else host_names(allowed_hosts)
    except ValueError as error:
        raise ConfigurationError(f"allowed_hosts: {error}") from None


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `ConfigurationError` if the address is taken."""
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"cannot listen on {host}:{port} ({error}); try --port 0") from error


def serve(app: ASGIApp, name: str, listening: socket.socket, host: str, allowed_hosts: Sequence[str] | None) -> None:
    """Print the address, and serve until interrupted.

    Args:
        app: Application. It gets requests of its own pages and of clients that are not browsers, see `OwnPages`, whose
            bodies have at most `MAX_BODY_BYTES`.
        name: Name of the application, for the printed line.
        listening: Socket of `listen`.
        host: Address that it listens on.
        allowed_hosts: Names of the server, see `OwnPages`.
    """
    sys.stdout.write(f"{name} on http://{host}:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    guarded = OwnPages(BoundedBody(app, MAX_BODY_BYTES), host, allowed_hosts)
    uvicorn.Server(uvicorn.Config(guarded, http=Http1Protocol, log_level="warning")).run(sockets=[listening])
