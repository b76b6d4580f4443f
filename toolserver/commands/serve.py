"""`toolserver serve`."""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any, Literal, cast

import tyro
import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from toolserver.children import end_with_parent
from toolserver.commands.output import say
from toolserver.errors import ConfigurationError
from toolserver.http.own_pages import is_loopback
from toolserver.http.protocol import BoundedProtocol, ConnectionLimits
from toolserver.resolvers.llm import Simulator
from toolserver.service.factory import assemble
from toolserver.settings import MissPolicy, Settings

WorldLevel = Literal["lite", "standard", "full"]

_PAGES = "agents.view.pages.server:create_pages"
"""Pages of `--ui`: named and not imported, as `toolserver` does not depend on the packages above it."""
_SHUTDOWN_SECONDS = 5  # for requests in progress when the server stops


def _setting(metavar: str, default: str = "") -> Any:
    """Flag of a setting that an environment variable may set too, so that the flag itself has no default."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "")


def serve(
    *,
    cache: Annotated[str | None, _setting("DIR|URL")] = None,
    bfcl: bool = False,
    tau2: bool = False,
    world: Annotated[int | None, _setting("SEED")] = None,
    world_level: Annotated[WorldLevel | None, _setting("lite|standard|full", "lite")] = None,
    world_version: Annotated[int | None, _setting("N", "the current one")] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    miss: Annotated[MissPolicy | None, _setting("strict|synthetic|llm|live", "strict")] = None,
    miss_status: Annotated[Literal[200, 500] | None, _setting("200|500", "200")] = None,
    mcp: bool = False,
    ui: bool = False,
    read_only: bool = False,
    strict_arguments: bool = False,
    api_key_file: Annotated[Path | None, _setting("FILE")] = None,
    allowed_hosts: Annotated[str | None, _setting("NAMES")] = None,
    rate_limit: Annotated[float | None, _setting("N", "no limit")] = None,
    llm_url: Annotated[str | None, _setting("URL")] = None,
    llm_model: Annotated[str | None, _setting("NAME")] = None,
    llm_simulator: Annotated[Simulator | None, _setting("gpt|mirrorapi", "gpt")] = None,
    live_url: Annotated[str | None, _setting("URL")] = None,
    access_log: bool = False,
) -> None:
    """Serve recorded tools, a ToolWorld, or both, or a benchmark's simulated APIs over HTTP.

    Example: `toolserver serve --cache data/cache --port 8000 --workers 4 --read-only`

    Example: `toolserver serve --world 0 --port 0` (a free port, shown in the first line of output)

    Every setting, these and more, can also be given as an environment variable `TOOLSERVER_<NAME>`; a flag wins.
    Secrets are taken from there only: TOOLSERVER_STATE_KEY, TOOLSERVER_LLM_KEY, TOOLSERVER_LIVE_KEY,
    TOOLSERVER_REDIS_PASSWORD. Servers that share episodes, on several hosts or after a restart, need the same
    TOOLSERVER_STATE_KEY; without one, it is random.

    Args:
        cache: Recorded responses (made by `toolserver import`): a directory or redis://host:port/db?prefix=name.
        bfcl: Serve the simulated APIs of BFCL's multi-turn tasks, alone (extra `bfcl`).
        tau2: Serve the simulated provider and phone of tau2's telecom tasks, alone (extra `tau2`).
        world: Serve the ToolWorld of this seed.
        world_level: Level of the world.
        world_version: Version of the world; later ones have more domains.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        workers: Number of processes. They share the cache.
        miss: Source of answers to calls that are not recorded: none (strict), the API's template (synthetic), a
            language model (llm) or an upstream server (live).
        miss_status: HTTP status of `/virtual` and `/rapidapi` for a call that nothing answers. StableToolBench's server
            sends 500; with 200, the error text says that the API does not work.
        mcp: Serve the tools by the Model Context Protocol, too: streamable HTTP at /mcp (extra `mcp`).
        ui: Serve pages of the tools and tasks at /ui, too (extra `view`).
        read_only: Open the cache for reading only; needed on a read-only volume.
        strict_arguments: Refuse calls whose arguments do not fit the documentation.
        api_key_file: File with the accepted API keys, one per line. Without it, no key is needed.
        allowed_hosts: Host names by which the server may be called beside addresses and names without a dot, separated
            by commas: `tools.example,*.example.org`; `*` for any. Without it, a server on a loopback address, without
            keys, refuses others, so that no site reads it by a name of its own; any other server takes them.
        rate_limit: Maximum number of calls per second and key.
        llm_url: OpenAI-compatible endpoint for `--miss llm`, e.g. http://127.0.0.1:8001/v1.
        llm_model: Model name at that endpoint.
        llm_simulator: Message format: StableToolBench's GPT simulator or MirrorAPI.
        live_url: Upstream `/rapidapi` endpoint for `--miss live`.
        access_log: Log every request (reduces the throughput by a third).
    """
    # A flag that is not given is None or False; 0 is a value, e.g. a seed.
    flags = {name: value for name, value in locals().items() if name in Settings.model_fields}
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    if ui:
        given["ui"] = _PAGES
    with tempfile.TemporaryDirectory(prefix="toolserver-") as runtime_dir:
        settings, hint = _settings(given, runtime_dir), ""
        if checks_names(settings, host):
            os.environ["TOOLSERVER_ALLOWED_HOSTS"] = ""  # none beside those of every server
        if settings.state_key is None:
            os.environ["TOOLSERVER_STATE_KEY"] = token_urlsafe(32)  # the workers share it
            hint = (
                "Servers that share episodes, also after a restart, need the same TOOLSERVER_STATE_KEY; it is random\n"
            )
        if workers < 1:
            raise ConfigurationError(f"workers: {workers} processes cannot serve; use at least 1")
        listening = _listen(host, port)
        with closing(listening):
            port = listening.getsockname()[1]
            _run(settings, listening, workers, access_log, lambda: _announce(host, port, settings, hint))
        if cache is not None and settings.miss in ("llm", "live") and not settings.read_only:
            say(f"Wrote the answers of the {settings.miss} server to the cache; see `toolserver stats`")


def _settings(given: dict[str, object], runtime_dir: str) -> Settings:
    """Merge flags with the environment, flags first, and set the result as environment variables for the workers."""
    for name, value in (given | {"runtime_dir": runtime_dir}).items():
        os.environ[f"TOOLSERVER_{name.upper()}"] = str(value)
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise ConfigurationError("; ".join(problems)) from None


def checks_names(settings: Settings, host: str) -> bool:
    """Return whether a server that listens on `host` refuses other names by default: it knows them and has no keys."""
    return settings.allowed_hosts is None and settings.api_key_file is None and is_loopback(host)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(f"host, port: cannot listen on {host}:{port} ({error}); try --port 0") from None
    listening.set_inheritable(True)
    return listening


def _announce(host: str, port: int, settings: Settings, hint: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    pages = ", tools and tasks at /ui" if settings.ui else ""
    sys.stdout.write(f"toolserver on http://{shown}:{port} (documentation at /docs{pages})\n{hint}")
    sys.stdout.flush()


def _run(
    settings: Settings, listening: socket.socket, workers: int, access_log: bool, ready: Callable[[], None]
) -> None:
    """Serve until the process is stopped. Errors in the settings are raised before `ready` is called."""
    limits = ConnectionLimits(
        head_bytes=settings.max_head_bytes,
        head_timeout=settings.head_timeout,
        request_timeout=settings.request_timeout,
        connections=settings.max_connections,
    )
    config = uvicorn.Config(
        f"toolserver.commands.serve:{'server_app' if workers == 1 else 'worker_app'}",
        factory=True,
        workers=workers,
        http=cast(Any, partial(BoundedProtocol, limits=limits)),  # uvicorn takes any function that makes a protocol
        ws="none",
        access_log=access_log,
        log_config=_log_config(),
        log_level="info" if access_log else "warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    if workers == 1:
        config.load()
        ready()
        uvicorn.Server(config).run(sockets=[listening])
        return
    assemble(settings).service.close()  # reports an error in the settings once, before every worker would
    ready()
    Multiprocess(config, sockets=[listening]).run()


def server_app() -> ASGIApp:
    """Application of the environment's settings, entered without the layer that FastAPI's class adds."""
    from toolserver.http.app import create_app  # FastAPI takes other commands 0.2 s to import

    return create_app().gateway


def worker_app() -> ASGIApp:
    """Application of one of several workers. Its process ends with its parent, even if that one is killed."""
    end_with_parent()
    return server_app()


class PathOnly(logging.Filter):
    """Filter of uvicorn's access log that removes queries, which may hold what a caller searches for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, without the query of its address."""
        if isinstance(record.args, tuple):
            record.args = tuple(each.partition("?")[0] if isinstance(each, str) else each for each in record.args)
        return True


def _log_config() -> dict[str, Any]:
    config = deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["filters"] = {"path_only": {"()": PathOnly}}
    config["handlers"]["access"]["filters"] = ["path_only"]
    return config
