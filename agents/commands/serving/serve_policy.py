"""`steptool serve-policy`."""

import socket
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
import uvicorn

from agents.errors import ConfigurationError


@dataclass(frozen=True)
class Command:
    """Serve a policy that samples for rollouts on another machine (`steptool train --rollout.engine URL`).

    Implements the part of vLLM's completions API that rollouts need. Every client can sample and replace the weights:
    keep it in a trusted network. For models that do not fit one device, or that must be fast, use vLLM.

    Example: steptool serve-policy --checkpoint runs/sft --port 8000
    """

    checkpoint: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of a checkpoint, or of a run, whose newest checkpoint is taken; or `nano-sft`."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    device: str = "cpu"
    """Device of the model."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Weight dtype."""

    def run(self) -> None:
        """Serve until interrupted."""
        from agents.models.bundle import load_policy
        from agents.rollout.policy_server import Decoder, create_app

        bundle = load_policy(self.checkpoint, device=self.device, dtype=self.dtype)
        with closing(listen(self.host, self.port)) as listening, Decoder(bundle.policy, bundle.context) as decoder:
            sys.stdout.write(f"policy on http://{self.host}:{listening.getsockname()[1]}\n")
            sys.stdout.flush()
            app = create_app(decoder, self.checkpoint.name)
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `ConfigurationError` if the address is taken."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port} ({error}); try --port 0") from error
