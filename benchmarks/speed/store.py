"""Cost of recordings: hits by cache size, opening, memory, import and search of the catalog.

    python -m benchmarks.speed.store [--sizes 1000 100000 1000000] [--redis redis://127.0.0.1:6379/0?prefix=bench]

Every size is measured in a new process, on a cache of generated calls with bodies of 0.3 to 1.5 kB. `disk` reads
uniformly drawn calls without the memory cache; `memory` reads cached calls; `zipf` draws calls like traffic (exponent
1.1) with the default memory cache, warm. `service` is a complete call in process, from disk: names, validation, key,
look-up. `diskcache` is the library's `get` on the same file.
"""

import json
import resource
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from timeit import repeat
from typing import Annotated, Any

import diskcache
import numpy as np
import tyro

from benchmarks.harness.command import run_command
from benchmarks.harness.process import Server
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import race
from benchmarks.speed.load import post_bytes
from benchmarks.speed.server import timed_load
from steptool_env.errors import ConfigurationError
from toolserver.cache import ResponseCache, canonical_key
from toolserver.cache.archive import export_archive, import_archive
from toolserver.catalog.api_schema import ApiSpec, ToolCall, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.children import worker_pool
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.service.service import ToolService
from toolserver.testing import ServerProcess

_CALLS = 20_000  # calls per lap: more than the server caches
_LAPS = 5
_BATCH = 5000  # recordings per transaction
_CARRIED = 100_000  # maximum number of exported and imported entries
_APIS = 10_000  # in the search
_EVEN = "even, new requests"
_WORDS = ("weather forecast", "get list", "football player statistics", "search by name or id", "the a of")


@dataclass(frozen=True)
class Options:
    """Measure the store. Example: `python -m benchmarks.speed.store --sizes 1000 100000`."""

    sizes: tuple[int, ...] = (1_000, 100_000)
    """Numbers of entries. A million takes 1.3 GB of disk and about two minutes."""
    redis: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """Also measure hits of a Redis cache of the smallest size, which is created there."""

    def __post_init__(self) -> None:
        if min(self.sizes, default=0) < 1:
            raise ConfigurationError(f"sizes={self.sizes}: give one or more, each of at least 1")


def numbered_call(number: int) -> ToolCall:
    """Return a generated call."""
    return ToolCall("Data", f"Tool {number % 100}", "Search", {"number": number, "unit": "metric"})


def fill(path: str | Path, size: int) -> float:
    """Create a cache of `size` entries. Return recordings per second."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(300, 1500, size)
    started = perf_counter()
    with ResponseCache(path, memory_entries=0) as cache:
        for start in range(0, size, _BATCH):
            with cache.transaction():
                for number in range(start, min(start + _BATCH, size)):
                    cache.put(numbered_call(number), encode_body("", "x" * int(lengths[number])))
    return size / (perf_counter() - started)


def measure(path: Path, size: int) -> Row:
    """Measure one size in this process."""
    rng = np.random.default_rng(1)
    calls = [numbered_call(int(number)) for number in rng.integers(0, size, _CALLS)]
    keys = [_key(call) for call in calls]
    popular = [_key(numbered_call(int(number) % size)) for number in rng.zipf(1.1, 2 * _CALLS)]
    opening = median(_opening(path, keys[0]) for _ in range(_LAPS))
    with ResponseCache(path, read_only=True, memory_entries=0) as cache, closing(diskcache.Cache(str(path))) as library:
        service = ToolService(Catalog(), [RecordedResolver(cache)])
        # In turns, so that other processes slow both equally.
        both = [(_lap(cache.get, keys), _lap(library.get, keys)) for _ in range(_LAPS)]
        disk, theirs = (min(laps) for laps in zip(*both, strict=True))
        whole = _microseconds(service.call, calls)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    with ResponseCache(path, read_only=True) as cache:
        _lap(cache.get, popular[:_CALLS])
        zipf = _lap(cache.get, popular[_CALLS:])
        memory = _microseconds(cache.get, keys[:1000])
    return {
        "entries": size,
        "open ms": opening,
        "disk us": disk,
        "zipf us": zipf,
        "memory us": memory,
        "service us": whole,
        "diskcache us": theirs,
        "peak MiB": resident,
    }


def _key(call: ToolCall) -> bytes:
    assert isinstance(call.arguments, dict)
    return canonical_key(call.category, call.tool, call.api, call.arguments)


def _opening(path: Path, key: bytes) -> float:
    """Return the milliseconds until the first hit."""
    started = perf_counter()
    with ResponseCache(path, read_only=True) as cache:
        assert cache.get(key) is not None
        return 1000 * (perf_counter() - started)


def _lap(ask: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the microseconds of one `ask`, over all items."""
    started = perf_counter()
    for item in items:
        ask(item)
    return 1e6 * (perf_counter() - started) / len(items)


def _microseconds(ask: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the microseconds of one `ask` in the fastest lap: other processes only add time."""
    return min(_lap(ask, items) for _ in range(_LAPS))


def compare_stores(path: Path, url: str, size: int) -> list[Row]:
    """Measure hits and first recordings of the same calls on disk and in Redis, without memory cache, in turns."""
    rng = np.random.default_rng(1)
    keys = [_key(numbered_call(int(number))) for number in rng.integers(0, size, _CALLS)]
    rates = [fill(path.with_suffix(".again"), size), fill(url, size)]
    with (
        ResponseCache(path, read_only=True, memory_entries=0) as disk,
        ResponseCache(url, read_only=True, memory_entries=0) as remote,
    ):
        laps = [(_lap(disk.get, keys), _lap(remote.get, keys)) for _ in range(_LAPS)]
    hits = [min(own) for own in zip(*laps, strict=True)]
    stores = zip(("disk", "Redis"), hits, rates, strict=True)
    return [{"store": name, "entries": size, "hit us": hit, "write/s": rate} for name, hit, rate in stores]


def carry(path: Path, size: int) -> Row:
    """Return the export and import rates of a cache in calls per second."""
    file, copy = path.with_suffix(".zst"), path.with_suffix(".copy")
    started = perf_counter()
    with ResponseCache(path, read_only=True, memory_entries=0) as cache:
        export_archive(file, cache, Catalog())
    exported = perf_counter()
    with ResponseCache(copy, memory_entries=0) as cache:
        import_archive(file, cache, Catalog())
    imported = perf_counter()
    with ResponseCache(copy, read_only=True, memory_entries=0) as cache:
        problems = len(list(cache.verify()))
    verified = perf_counter()
    return {
        "entries": size,
        "export calls/s": size / (exported - started),
        "import calls/s": size / (imported - exported),
        "verify calls/s": size / (verified - imported),
        "problems": problems,
        "archive MiB": file.stat().st_size / 2**20,
        "cache MiB": (copy / "cache.db").stat().st_size / 2**20,
    }


def serve(folder: Path, sizes: Sequence[int]) -> list[Row]:
    """Measure hits of `/virtual` with 32 clients, sizes in turns. On a shared machine compare the processor time."""
    with ExitStack() as stack:
        servers = {}
        for size in sizes:
            process = stack.enter_context(ServerProcess(["--cache", str(folder / str(size)), "--read-only"]))
            servers[size] = Server(process.url, process.pid)
        laps = race(
            {
                (size, draws): partial(
                    timed_load, server, [post_bytes(server.url, "/virtual", each) for each in requests], 32, 3.0
                )
                for size, server in servers.items()
                for draws, requests in _draws(size).items()
            },
            rounds=3,
        )
        resident = {size: server.resident_mib() for size, server in servers.items()}
    rows: list[Row] = []
    for (size, draws), own in laps.items():
        rows.append(
            {
                "entries": size,
                "draws": draws,
                "requests/s": round(median(lap.load.rate for lap in own)),
                "CPU us/request": median(lap.cpu for lap in own),
                "resident MiB": resident[size],
            }
        )
    return rows


def _draws(size: int) -> dict[str, list[dict[str, str]]]:
    """Return requests for uniformly drawn calls, each different, and for calls drawn like traffic."""
    rng = np.random.default_rng(2)
    even, zipf = rng.integers(0, size, _CALLS), rng.zipf(1.1, _CALLS) % size
    return {
        _EVEN: [_request(numbered_call(int(number)), str(place)) for place, number in enumerate(even)],
        "zipf": [_request(numbered_call(int(number))) for number in zipf],
    }


def _request(call: ToolCall, key: str = "") -> dict[str, str]:
    names = {"category": call.category, "tool_name": call.tool, "api_name": call.api}
    return {**names, "tool_input": json.dumps(call.arguments), "strip": "", "toolbench_key": key}


def search() -> list[Row]:
    """Return the milliseconds of searches over many APIs; the first builds the index."""
    catalog = Catalog(_invented_api(number) for number in range(_APIS))
    started = perf_counter()
    catalog.search("index")
    rows: list[Row] = [{"words": "(building the index)", "median ms": 1000 * (perf_counter() - started)}]
    for words in _WORDS:
        seconds = repeat(partial(catalog.search, words), number=1, repeat=_LAPS)
        rows.append({"words": words, "median ms": 1000 * median(seconds)})
    return rows


def _invented_api(number: int) -> ApiSpec:
    rng = np.random.default_rng(number)
    vocabulary = (" ".join(_WORDS) + " list of current scores weather station the a by id city team user").split()
    name, description = (" ".join(rng.choice(vocabulary, count)) for count in (3, 25))
    return ApiSpec(f"Category {number % 49}", f"Tool {number // 5}", f"{name} {number}", description)


def run(options: Options) -> Result:
    """Measure everything."""
    hits, files = list[Row](), list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            path = Path(folder) / str(size)
            rate = fill(path, size)
            with worker_pool(1, max_tasks_per_child=1) as fresh:
                hits.append({**fresh.submit(measure, path, size).result(), "write/s": rate})
            if size <= _CARRIED:
                files.append(carry(path, size))
        smallest = min(options.sizes)
        stores = options.redis and compare_stores(Path(folder) / str(smallest), options.redis, smallest)
        served = serve(Path(folder), [min(options.sizes), max(options.sizes)])
    tables = {
        "Hits in process": hits,
        **({"On disk and in Redis": stores} if stores else {}),
        "Hits of /virtual at 32 clients": served,
        "Files": files,
        f"Search over {_APIS:,} APIs, nearly all of which match": search(),
    }
    notes = [
        f"A hit from disk at {size:,} entries costs {ratio:.2f} times one at {options.sizes[0]:,}."
        for size, ratio in _ratios(hits, "disk us")
    ]
    notes += [
        f"Over HTTP, in a request of an unknown body: {ratio:.2f} times ({size:,} entries, processor time)."
        for size, ratio in _ratios([row for row in served if row["draws"] == _EVEN], "CPU us/request")
    ]
    return Result("store", "What recordings cost", tables, notes)


def _ratios(rows: Sequence[Row], cost: str) -> list[tuple[int, float]]:
    """Return the cost of a hit at each further size relative to the first size."""
    costs = [(int(str(row["entries"])), float(str(row[cost]))) for row in rows]
    return [(size, own / costs[0][1]) for size, own in costs[1:]]


if __name__ == "__main__":
    run_command("speed.store", Options, run)
