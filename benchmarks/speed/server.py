"""Requests per second of the tool server beside StableToolBench's own, on the same machine and the same recordings.

    python -m benchmarks.speed.server

All servers run at the same time, each on one worker pinned to the first core. The load comes from the last core, to one
server after the other, in turns. Only the table by workers pins nothing: servers and load share all cores. So ratios
hold where the machine is slow; where it is shared, the processor time per request is more reliable than the rate. The
reference and the echo, the minimum of an ASGI application, are in `benchmarks.speed.reference_server`.
Requests are repeated, as in training, and our server stores their bodies; `new requests` are the same calls in bodies
that it has not stored.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.harness.command import run_command
from benchmarks.harness.process import Server, serve_app
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import race
from benchmarks.speed.load import Load, post_bytes, run_load
from benchmarks.speed.recordings import Request, import_recordings, write_recordings
from benchmarks.speed.reference_server import RECORDINGS_VARIABLE
from toolserver.testing import ServerProcess

REFERENCE, OURS, NEW, ECHO = "reference", "ours", "ours, new requests", "ASGI echo"

_CLIENTS = (1, 8, 32)
_BATCH, _SMALL_BATCH = 256, 32
_SPELLINGS = 16  # of each request: more bodies than the server stores
_TARGET_RATIO, _TARGET_ECHO, _TARGET_CALLS = 12, 0.85, 400_000  # x reference, x echo, calls/s in batches
_CORES = sorted(os.sched_getaffinity(0))
APPS = "benchmarks.speed.reference_server"
LEAN = ("--no-access-log", "--no-server-header", "--no-date-header", "--no-proxy-headers", "--lifespan=off")


@dataclass(frozen=True)
class Options:
    """Measure the tool server. Example: python -m benchmarks.speed.server --quick."""

    quick: bool = False
    """Short laps: a minute in place of ten."""

    @property
    def seconds(self) -> float:
        """Length of a lap."""
        return 0.5 if self.quick else 2.0

    @property
    def rounds(self) -> int:
        """Laps of each contestant that count."""
        return 3 if self.quick else 7


class Lap(NamedTuple):
    """One load run, and the processor time that the server used for each request of it, in microseconds."""

    load: Load
    cpu: float


def run(options: Options) -> Result:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        requests = write_recordings(folder / "small", apis=500, entries=3)
        with pinned(-1):
            with _servers(folder / "small", folder / "small-cache") as servers:
                hits = _hits(servers, requests, options)
                batches = _batches(servers, requests, options)
                memory = _memory(servers)
            sizes = _by_size(folder, options)
        workers = _by_workers(folder / "small-cache", requests, options)
    tables = {
        "Hits of /virtual": hits,
        f"Calls of /v1/calls in batches of {_BATCH}": batches,
        "Hits at 32 clients by route and workers": workers,
        "Hits at 32 clients by recordings per API": sizes,
        "Resident memory after the load": memory,
    }
    return Result("server", "The tool server beside StableToolBench's own", tables, _notes(hits, batches))


@contextmanager
def _servers(
    recordings: Path, cache: Path, names: Sequence[str] = (REFERENCE, OURS, ECHO)
) -> Iterator[dict[str, Server]]:
    """The contestants over the same recordings, pinned to the first core."""
    import_recordings(recordings, cache)
    arguments = ["--cache", str(cache), "--read-only"]
    with ExitStack() as stack:
        servers = {}
        for name in names:
            if name == OURS:
                process = stack.enter_context(ServerProcess(arguments))
                servers[name] = Server(process.url, process.pid)
            elif name == ECHO:
                servers[name] = stack.enter_context(serve_app(f"{APPS}:echo", *LEAN))
            else:  # with uvicorn's default settings, as its own `main.py` serves it
                settings = {RECORDINGS_VARIABLE: str(recordings / "tool_response_cache")}
                servers[name] = stack.enter_context(serve_app(f"{APPS}:make_reference", "--factory", settings=settings))
            pin(servers[name].pid, 0)
        yield servers


def _hits(servers: Mapping[str, Server], requests: Sequence[Request], options: Options) -> list[Row]:
    asked = {name: (server, requests) for name, server in servers.items()}
    # The same calls by so many keys that no body is still stored when it is repeated.
    keys = map(str, range(_SPELLINGS))
    asked[NEW] = servers[OURS], [{**request, "toolbench_key": key} for key in keys for request in requests]
    rows: list[Row] = []
    for clients in _CLIENTS:
        laps = _race(asked, clients, options)
        rate = {name: median(lap.load.rate for lap in own) for name, own in laps.items()}
        cpu = {name: median(lap.cpu for lap in own) for name, own in laps.items()}
        rows += [
            {
                "server": name,
                "clients": clients,
                "requests/s": round(rate[name]),
                "p50 ms": median(lap.load.p50 for lap in own) * 1e3,
                "p99 ms": median(lap.load.p99 for lap in own) * 1e3,
                "x reference": rate[name] / rate[REFERENCE],
                "CPU us/request": cpu[name],
                "CPU, x less": cpu[REFERENCE] / cpu[name],
                "failures": sum(lap.load.failures for lap in own),
            }
            for name, own in laps.items()
        ]
    return rows


def timed_load(server: Server, requests: Sequence[bytes], clients: int, seconds: float) -> Lap:
    """Load a server for some seconds."""
    used = server.cpu_seconds()
    load = run_load(server.url, requests, clients=clients, seconds=seconds)
    return Lap(load, (server.cpu_seconds() - used) / load.answered * 1e6)


def _race(
    asked: Mapping[str, tuple[Server, Sequence[Request]]], clients: int, options: Options
) -> dict[str, list[Lap]]:
    contestants = {}
    for name, (server, requests) in asked.items():
        prepared = [post_bytes(server.url, "/virtual", request) for request in requests]
        contestants[name] = partial(timed_load, server, prepared, clients, options.seconds)
    return race(contestants, options.rounds)


def _batches(servers: Mapping[str, Server], requests: Sequence[Request], options: Options) -> list[Row]:
    """One request of many calls at a time, as a vector environment sends them."""
    url = servers[OURS].url
    prepared = [post_bytes(url, "/v1/calls", batch) for batch in grouped(as_calls(requests), _BATCH)]
    laps = race(
        {clients: partial(run_load, url, prepared, clients=clients, seconds=options.seconds) for clients in (1, 8)},
        options.rounds,
    )
    rows: list[Row] = []
    for clients, loads in laps.items():
        rate = median(load.rate for load in loads)
        p99 = median(load.p99 for load in loads) * 1e3
        rows.append({"clients": clients, "calls/s": round(rate * _BATCH), "p99 ms per batch": p99})
    return rows


def as_calls(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Requests of `/virtual` as calls of `/v1/call`."""
    return [
        {
            "category": item["category"],
            "tool": item["tool_name"],
            "api": item["api_name"],
            "arguments": item["tool_input"],
        }
        for item in requests
    ]


def grouped(calls: Sequence[Mapping[str, Any]], size: int) -> list[Sequence[Mapping[str, Any]]]:
    """Bodies of `/v1/calls` with `size` calls each."""
    return [calls[start : start + size] for start in range(0, len(calls) - size + 1, size)]


def _by_workers(cache: Path, requests: Sequence[Request], options: Options) -> list[Row]:
    """Every route with one worker and with two. Nothing is pinned: on two cores the load takes one from them."""
    calls = as_calls(requests)
    routes: Mapping[str, tuple[Sequence[Any], int]] = {
        "/virtual": (requests, 1),
        "/v1/call": (calls, 1),
        "/v1/calls": (grouped(calls, _SMALL_BATCH), _SMALL_BATCH),
    }
    contestants = {}
    with ExitStack() as stack:
        for workers in (1, 2):
            url = stack.enter_context(free_server(cache, workers)).url
            for path, (bodies, _) in routes.items():
                prepared = [post_bytes(url, path, body) for body in bodies]
                contestants[path, workers] = partial(run_load, url, prepared, clients=32, seconds=options.seconds)
        laps = race(contestants, options.rounds)
    rows: list[Row] = []
    for (path, workers), loads in sorted(laps.items()):
        size, rate = routes[path][1], median(load.rate for load in loads)
        p99 = median(load.p99 for load in loads) * 1e3
        rows.append(
            {
                "route": path,
                "workers": workers,
                "calls of a request": size,
                "requests/s": round(rate),
                "calls/s": round(rate * size),
                "p99 ms": p99,
                "failures": sum(load.failures for load in loads),
            }
        )
    return rows


@contextmanager
def free_server(cache: Path, workers: int) -> Iterator[ServerProcess]:
    """A server whose workers run on every core that this process may use.

    Raises:
        RuntimeError: This process is pinned, which its children would inherit.
    """
    if sorted(os.sched_getaffinity(0)) != _CORES:
        raise RuntimeError("the benchmark is pinned to a core; start servers by workers outside `pinned`")
    with ServerProcess(["--cache", str(cache), "--read-only", "--workers", str(workers)]) as process:
        yield process


def _by_size(folder: Path, options: Options) -> list[Row]:
    """Hits by recordings per API: the reference parses the whole file of an API on every request."""
    rows: list[Row] = []
    for size in (1, 100) if options.quick else (1, 100, 1_000, 10_000):
        recordings = folder / f"{size}"
        requests = write_recordings(recordings, apis=4, entries=size)
        with _servers(recordings, folder / f"{size}-cache", (REFERENCE, OURS)) as servers:
            laps = _race({name: (server, requests) for name, server in servers.items()}, 32, options)
        rates = {name: median(lap.load.rate for lap in own) for name, own in laps.items()}
        rows.append(
            {
                "recordings per API": size,
                "reference requests/s": rates[REFERENCE],
                "ours requests/s": rates[OURS],
                "ratio": rates[OURS] / rates[REFERENCE],
            }
        )
    return rows


def _memory(servers: Mapping[str, Server]) -> list[Row]:
    return [{"server": name, "MiB": server.resident_mib()} for name, server in servers.items()]


def _notes(hits: Sequence[Row], batches: Sequence[Row]) -> list[str]:
    """The targets, with the outcome of this run."""
    rates = {row["server"]: row["requests/s"] for row in hits if row["clients"] == _CLIENTS[-1]}
    ours, reference, echo = (float(rates[name] or 0) for name in (OURS, REFERENCE, ECHO))
    calls = max(int(row["calls/s"] or 0) for row in batches)
    return [
        _note(f"hits at 32 clients at least {_TARGET_RATIO} times the reference", ours / reference, _TARGET_RATIO),
        _note(f"hits at 32 clients at least {_TARGET_ECHO} times the echo", ours / echo, _TARGET_ECHO),
        _note(f"at least {_TARGET_CALLS:,} calls/s in batches of {_BATCH}", calls, _TARGET_CALLS),
        "Hits among 1,000,000 recordings, opening them and a worker's memory then: see `benchmarks.speed.store`.",
    ]


def _note(target: str, found: float, least: float) -> str:
    return f"Target: {target}: {'reached' if found >= least else 'missed'} ({found:,.4g})."


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin this process and its children to one core; afterwards restore the cores."""
    before = os.sched_getaffinity(0)
    pin(os.getpid(), core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, core: int) -> None:
    """Pin a process to one core, so that load and server do not compete."""
    if len(_CORES) > 1:
        os.sched_setaffinity(pid, {_CORES[core]})


if __name__ == "__main__":
    run_command("speed.server", Options, run, ["uvicorn", "uvloop", "httptools"])
