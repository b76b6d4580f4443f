"""Runs the benchmarks that fit ten minutes together, each in a process of its own.

    python -m benchmarks [--list] [--only server environment] [--data stabletoolbench]

Longer runs of each, and what they need: `python -m benchmarks.<module> --help`, docs/benchmarks.md.
"""

from __future__ import annotations

import subprocess
import sys
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


class Benchmark(NamedTuple):
    """A module of this package, and how it is run here.

    Attributes:
        name: Name of the benchmark and of its result files.
        module: Module below `benchmarks`.
        measures: What it is about.
        arguments: Of its short form.
    """

    name: str
    module: str
    measures: str
    arguments: Sequence[str] = ("--quick",)


BENCHMARKS = (
    Benchmark("server", "speed.server", "requests per second of the tool server, beside StableToolBench's"),
    Benchmark("environment", "speed.environment", "environment steps per second, beside other environments"),
    Benchmark("scaling", "speed.scaling", "how costs grow with what they should not depend on"),
    Benchmark("rollout", "speed.rollout", "sampled tokens per second, beside full-context generate and TRL"),
    Benchmark("learner", "speed.learner", "trained tokens per second and memory of one update, beside TRL"),
    Benchmark("store", "speed.store", "hits, opening and memory of the cache by size", ("--sizes", "1000", "100000")),
    Benchmark("world", "toolworld.world", "building ToolWorld, its memory and its calls", ()),
)

NEEDS_DATA = frozenset({"environment"})
"""Benchmarks that measure more when they are given StableToolBench's data."""


@dataclass(frozen=True)
class Options:
    """Run the short benchmarks. Example: python -m benchmarks --only environment scaling."""

    list: bool = False
    """Say what there is, and end."""
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Run these; all by default."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """StableToolBench's data (docs/data.md), for those that can use it."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = RESULTS
    """Folder for the result files."""
    allow_dirty: bool = False
    """Write results of a tree with changes too; they say so in the first line."""


def chosen(only: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, in the order of the table; all where none is named. Raises `SystemExit`."""
    known = [benchmark.name for benchmark in BENCHMARKS]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SystemExit(f"error: --only {' '.join(unknown)}: no such benchmark; there are {', '.join(known)}")
    return [benchmark for benchmark in BENCHMARKS if not only or benchmark.name in only]


def command(benchmark: Benchmark, options: Options) -> list[str]:
    """What runs a benchmark."""
    data = ["--data", str(options.data)] if options.data and benchmark.name in NEEDS_DATA else []
    dirty = ["--allow-dirty"] if options.allow_dirty else []
    return ["-m", f"benchmarks.{benchmark.module}", *benchmark.arguments, *data, *dirty, "--out", str(options.out)]


def main(options: Options) -> int:
    """Run what is chosen, one after the other. Returns the number of benchmarks that failed."""
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
        done = subprocess.run([sys.executable, *command(benchmark, options)])
        console.print(f"{benchmark.name}: {perf_counter() - begin:.0f} s", highlight=False)
        if done.returncode:
            failed.append(benchmark.name)
    if failed:
        console.print(f"failed: {', '.join(failed)}", style="red")
    return len(failed)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, prog="python -m benchmarks", description=Options.__doc__)))
