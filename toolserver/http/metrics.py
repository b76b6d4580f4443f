"""Counts of calls and requests, summed over the workers, in Prometheus' text format.

A worker counts in dictionaries, which costs a call less than a microsecond. Once a second it writes a snapshot into the
server's runtime directory, and a scrape, whichever worker it reaches, adds up the snapshots of all. (The client
library's own multi-process mode writes a memory map per sample and is chosen by an environment variable at import.)
"""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from toolserver.cache import ResponseCache
from toolserver.catalog.api_schema import Outcome, Provenance, ToolResponse

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the latency histogram, in seconds; above the last one is one more bucket."""

_STORED = frozenset({Provenance.RECORDED, Provenance.GENERATED, Provenance.LIVE})
_ASKED_AFTER = _STORED | {Provenance.SYNTHETIC}
_MISSED = frozenset({Outcome.NOT_RECORDED, Outcome.UNKNOWN_API})

_SEPARATOR = "\t"


class Metrics:
    """Counts of one worker, and of its cache."""

    def __init__(self, runtime_dir: Path | None = None, cache: ResponseCache | None = None) -> None:
        self._calls: dict[tuple[str, bool, str, str], list[int]] = {}
        self._requests: dict[tuple[str, int], list[float]] = {}
        self._runtime_dir = runtime_dir
        self._cache = cache
        self._saving = Lock()  # scrapes run on threads

    def call_counter(self, route: str, instant: bool, outcome: str, provenance: str) -> list[int]:
        """The count of answered calls, as a list of one element, which the caller increments.

        Args:
            route: Path of the request.
            instant: True if the call was answered without an upstream request.
            outcome: Outcome of the call.
            provenance: Provenance of the answer.
        """
        return self._calls.setdefault((route, instant, outcome, provenance), [0])

    def count_call(self, route: str, response: ToolResponse, instant: bool) -> None:
        """Count one answered call; for the arguments see `call_counter`."""
        self.call_counter(route, instant, response.outcome, response.provenance)[0] += 1

    def count_calls(self, route: str, responses: Iterable[ToolResponse]) -> None:
        """Count calls that were answered instantly; for the arguments see `call_counter`."""
        for (outcome, provenance), count in Counter([response[1:3] for response in responses]).items():
            self.call_counter(route, True, outcome, provenance)[0] += count

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered HTTP request."""
        row = self._requests.get((route, status))
        if row is None:
            row = self._requests[route, status] = [0.0] * (len(BUCKETS) + 2)
        row[bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds

    def save(self) -> bool:
        """Write a snapshot for the other workers, if there is a runtime directory. Returns True if it was written.

        On a full disk or without the directory, only the sum over the workers is lost.
        """
        if self._runtime_dir is None:
            return False
        path = self._runtime_dir / f"metrics-{os.getpid()}.json"
        unfinished = path.with_suffix(".new")
        with self._saving:
            try:
                unfinished.write_bytes(orjson.dumps(self._snapshot()))
                unfinished.replace(path)
            except OSError:
                return False
        return True

    def exposition(self) -> bytes:
        """The counts of all workers in Prometheus' text format; without a shared directory, those of this one."""
        shared = self._runtime_dir if self.save() else None
        files = sorted(shared.glob("metrics-*.json")) if shared else ()
        snapshots = [orjson.loads(path.read_bytes()) for path in files] or [self._snapshot()]
        registry = CollectorRegistry()
        registry.register(_Sum(snapshots))
        return generate_latest(registry)

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        calls: Counter[str] = Counter()
        lookups: Counter[str] = Counter()
        calls_so_far, requests_so_far = list(self._calls.items()), list(self._requests.items())  # others go on counting
        for (route, instant, outcome, provenance), (count,) in calls_so_far:
            calls[_SEPARATOR.join((route, outcome, provenance))] += count
            if instant and provenance in _STORED:
                lookups["hit"] += count
            elif provenance in _ASKED_AFTER or outcome in _MISSED or not instant:
                lookups["miss"] += count
        if self._cache is not None:
            lookups["damaged"] = self._cache.damaged
        latency: dict[str, list[float]] = {}
        for (route, _), row in requests_so_far:
            latency[route] = [sum(column) for column in zip(row, latency.get(route, [0.0] * len(row)), strict=True)]
        return {
            "calls": calls,
            "lookups": lookups,
            "requests": {f"{route}{_SEPARATOR}{status}": sum(row[:-1]) for (route, status), row in requests_so_far},
            "latency": latency,
        }


class _Sum(Collector):
    """The sum of several snapshots, as Prometheus metrics."""

    def __init__(self, snapshots: Iterable[dict[str, dict[str, Any]]]) -> None:
        self._snapshots = list(snapshots)

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "toolserver_calls", "Answered tool calls.", labels=["route", "outcome", "provenance"]
        )
        for labels, count in self._sums("calls"):
            calls.add_metric(labels.split(_SEPARATOR), count)
        yield calls
        lookups = dict(self._sums("lookups"))
        yield CounterMetricFamily("toolserver_cache_hits", "Calls answered from the record.", lookups.get("hit", 0))
        yield CounterMetricFamily("toolserver_cache_misses", "Calls that were not recorded.", lookups.get("miss", 0))
        yield CounterMetricFamily(
            "toolserver_cache_damaged",
            "Reads of recordings that were refused because they do not match their hash.",
            lookups.get("damaged", 0),
        )
        requests = CounterMetricFamily("toolserver_requests", "Answered HTTP requests.", labels=["route", "status"])
        for labels, count in self._sums("requests"):
            requests.add_metric(labels.split(_SEPARATOR), count)
        yield requests
        yield self._latency()

    def _sums(self, name: str) -> list[tuple[str, float]]:
        total: Counter[str] = Counter()
        for snapshot in self._snapshots:
            total.update(snapshot[name])
        return sorted(total.items())

    def _latency(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily("toolserver_request_seconds", "Time to answer a request.", labels=["route"])
        for route in sorted({route for snapshot in self._snapshots for route in snapshot["latency"]}):
            rows = [snapshot["latency"][route] for snapshot in self._snapshots if route in snapshot["latency"]]
            *counts, total = (sum(column) for column in zip(*rows, strict=True))
            bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
            cumulative = [sum(counts[: index + 1]) for index in range(len(counts))]
            family.add_metric([route], list(zip(bounds, cumulative, strict=True)), total)
        return family
