"""Run the short benchmarks, ten minutes in total, one process each.

    python -m benchmarks [--list] [--only server environment] [--data stabletoolbench]

Longer runs and their requirements: `python -m benchmarks.<module> --help`, docs/benchmarks.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.harness.command import check_tree
from benchmarks.harness.report import RESULTS
from toolserver.children import ended_by_signals, run


class Benchmark(NamedTuple):
    """Benchmark, with its module below `benchmarks` and the arguments of its short form."""

    name: str
    module: str
    measures: str
    arguments: Sequence[str] = ("--quick",)


BENCHMARKS = (
    Benchmark("server", "speed.server", "requests per second of the tool server, beside StableToolBench's"),
    Benchmark("environment", "speed.environment", "environment steps per second, beside other environments"),
    Benchmark("scaling", "speed.scaling", "growth of costs with sizes that should not matter"),
    Benchmark("rollout", "speed.rollout", "sampled tokens per second, beside full-context generate and TRL"),
    Benchmark("learner", "speed.learner", "trained tokens per second and memory of one update, beside TRL"),
    Benchmark("store", "speed.store", "hits, opening and memory of the cache by size", ("--sizes", "1000", "100000")),
    Benchmark("world", "toolworld.world", "building ToolWorld, its memory and its calls", ()),
)

NEEDS_DATA = frozenset({"environment"})
"""Benchmarks that measure more with StableToolBench's data."""


@dataclass(frozen=True)
class Options:
    """Run the short benchmarks. Example: python -m benchmarks --only environment scaling."""

    list: bool = False
    """List the benchmarks and exit."""
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Names of the benchmarks to run; by default all."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of StableToolBench's data (docs/data.md), for benchmarks that use it."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = RESULTS
    """Folder for the result files."""
    allow_dirty: bool = False
    """Write results of a changed tree too; their first line says so."""


def chosen(only: Sequence[str]) -> list[Benchmark]:
    """Return the named benchmarks in the order of the table; all by default. Raises `SystemExit`."""
    known = [benchmark.name for benchmark in BENCHMARKS]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SystemExit(f"error: --only {' '.join(unknown)}: no such benchmark; there are {', '.join(known)}")
    return [benchmark for benchmark in BENCHMARKS if not only or benchmark.name in only]


def command(benchmark: Benchmark, options: Options) -> list[str]:
    """Return the module of a benchmark and its arguments."""
    data = ["--data", str(options.data)] if options.data and benchmark.name in NEEDS_DATA else []
    dirty = ["--allow-dirty"] if options.allow_dirty else []
    return [f"benchmarks.{benchmark.module}", *benchmark.arguments, *data, *dirty, "--out", str(options.out)]


def main(options: Options) -> int:
    """Run the chosen benchmarks one after the other. Return the number of failures."""
    console = Console()
    if options.list:
        table = Table("benchmark", "measures")
        for benchmark in BENCHMARKS:
            table.add_row(benchmark.name, benchmark.measures)
        console.print(table)
        return 0
    if not options.allow_dirty:
        check_tree(options.out)
    failed = []
    for benchmark in chosen(options.only):
        console.rule(f"{benchmark.name}: {benchmark.measures}")
        begin = perf_counter()
        status = run(command(benchmark, options))
        console.print(f"{benchmark.name}: {perf_counter() - begin:.0f} s", highlight=False)
        if status:
            failed.append(benchmark.name)
    if failed:
        console.print(f"failed: {', '.join(failed)}", style="red")
    return len(failed)


if __name__ == "__main__":
    with ended_by_signals():
        raise SystemExit(main(tyro.cli(Options, prog="python -m benchmarks", description=Options.__doc__)))
