"""Cost of ToolWorld: time to build worlds, their memory, and calls of their tools in process.

    python -m benchmarks.toolworld.world

Each level is measured in a new process. A build makes every table and the documentation of every API. A call passes the
tool service: names, validation, vendor, world and JSON encoding. Calls are valid samples of all healthy APIs, timed one
by one, without a cache of answers.
"""

import json
import resource
from dataclasses import dataclass
from itertools import islice
from time import perf_counter, perf_counter_ns

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from toolserver.catalog.api_schema import ToolCall
from toolserver.children import worker_pool
from toolserver.resolvers.world import WorldResolver
from toolserver.service.service import ToolService
from toolserver.world import Health, VendorRegistry, make_world
from toolserver.world.levels import LEVELS
from toolserver.world.samples import sample_arguments

_SEED = 0
_CALLS = 4000  # APIs that are called
_ROUNDS = 3
_MEGABYTE = 1024.0  # kilobytes; `ru_maxrss` counts those on Linux


@dataclass(frozen=True)
class Options:
    """Measure ToolWorld. Example: python -m benchmarks.toolworld.world --out results."""


def measure(level: str) -> Row:
    """Build the world of a level and call its tools."""
    before = _resident()  # after all imports
    started = perf_counter()
    vendors = VendorRegistry(make_world(_SEED, level))
    rows = sum(len(vendors.world.table(entity).rows) for entity in vendors.world.entities)
    apis = sum(1 for _ in vendors.specs())
    seconds = perf_counter() - started
    memory = _resident() - before
    times = sorted(_call_times(vendors))
    return {
        "level": level,
        "operations": len(vendors.world.operations),
        "rows": rows,
        "tools": len(vendors),
        "apis": apis,
        "build_seconds": round(seconds, 3),
        "memory_mb": round(memory, 1),
        "call_p50_us": round(times[len(times) // 2] / 1000, 1),
        "call_p99_us": round(times[len(times) * 99 // 100] / 1000, 1),
        "calls_per_second": round(1e9 * len(times) / sum(times)),
    }


def _call_times(vendors: VendorRegistry) -> list[int]:
    """Return the nanoseconds of each call: the minimum of several rounds, as other processes share the machine."""
    resolver = WorldResolver(vendors)
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


def run(_: Options) -> Result:
    """Measure all levels."""
    with worker_pool(1, max_tasks_per_child=1) as fresh:
        levels = list(fresh.map(measure, LEVELS))
    notes = (
        "memory_mb is the growth of the process; calls are single, in process, arguments as text, answers as bytes",
    )
    return Result("world", "What ToolWorld costs", {"Levels": levels}, notes)


if __name__ == "__main__":
    run_command("toolworld.world", Options, run)
