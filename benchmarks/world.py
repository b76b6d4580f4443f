"""What ToolWorld costs: building worlds, their memory, and calls of their tools in process.

    python -m benchmarks.world [--json FILE]

Each level is measured in a fresh process. A build makes every table and writes the documentation of every API. A call
goes through the tool service: names, validation, the vendor, the world, and JSON out; calls are valid samples of all
healthy APIs, each timed on its own, and no answer is kept.
"""

from __future__ import annotations

import json
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, perf_counter_ns

import tyro
from rich.console import Console
from rich.table import Table

from toolserver.schemas import ToolCall
from toolserver.service import ToolService
from toolserver.state import StateCodec
from toolserver.world import Health, Vendors, World
from toolserver.world.levels import LEVELS
from toolserver.world.resolver import WorldResolver
from toolserver.world.samples import sample_arguments

_SEED = 0
_CALLS = 4000  # APIs that are called
_ROUNDS = 3
_MEGABYTE = 1024.0  # kilobytes; `ru_maxrss` counts those on Linux


@dataclass(frozen=True)
class Measured:
    """The figures of one level."""

    level: str
    operations: int
    rows: int
    tools: int
    apis: int
    build_seconds: float
    memory_megabytes: float  # what the process grew by
    call_p50_us: float
    call_p99_us: float
    calls_per_second: float


@dataclass(frozen=True)
class Options:
    """Measure ToolWorld. Example: `python -m benchmarks.world --json benchmarks/results/world.json`."""

    json: Path | None = None
    """Where to write the figures as JSON."""


def measure(level: str) -> Measured:
    """Build the world of a level and call its tools."""
    before = _resident()  # with everything imported
    started = perf_counter()
    vendors = Vendors(World(_SEED, level))
    rows = sum(len(vendors.world.table(entity).rows) for entity in vendors.world.entities)
    apis = sum(1 for _ in vendors.specs())
    build_seconds = perf_counter() - started
    memory = _resident() - before
    times = sorted(_call_times(vendors))
    return Measured(
        level,
        len(vendors.world.operations),
        rows,
        len(vendors),
        apis,
        round(build_seconds, 3),
        round(memory, 1),
        round(times[len(times) // 2] / 1000, 1),
        round(times[len(times) * 99 // 100] / 1000, 1),
        round(1e9 * len(times) / sum(times)),
    )


def _call_times(vendors: Vendors) -> list[int]:
    """Nanoseconds of each call; the best of some rounds, as other processes share the machine."""
    resolver = WorldResolver(vendors, StateCodec())
    service = ToolService(resolver, [resolver])
    healthy = (api for api in vendors.apis() if api.health is Health.OK)
    world = vendors.world
    calls = [
        ToolCall(*api.key, json.dumps(api.encode_arguments(sample_arguments(api, world, position))))
        for position, api in enumerate(islice(healthy, _CALLS))
    ]
    rounds = [[_timed(service, call) for call in calls] for _ in range(_ROUNDS + 1)]
    return [min(times) for times in zip(*rounds[1:], strict=True)]


def _timed(service: ToolService, call: ToolCall) -> int:
    started = perf_counter_ns()
    service.call(call)
    return perf_counter_ns() - started


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE


def main(options: Options) -> None:
    """Measure all levels and print the table."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        measured = list(fresh.map(measure, LEVELS))
    table = Table("level", "operations", "rows", "tools", "APIs", "build s", "MB", "p50 us", "p99 us", "calls/s")
    for each in measured:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in asdict(each).values()))
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
