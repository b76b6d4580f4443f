"""Command line of a benchmark: flags from its dataclass, a check for a clean tree, result files, errors in one line."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from agents.reporting.console import Display
from benchmarks.harness.report import RESULTS, Result, changed_files, origin, publish
from steptool_env.errors import StepToolError
from toolserver.children import ended_by_signals

Options = TypeVar("Options")

_SHOWN = 5  # maximum number of changed files in an error


def run_command(
    name: str, options: type[Options], measure: Callable[[Options], Result], packages: Sequence[str] = ()
) -> None:
    """Measure with the options of the command line of `python -m benchmarks.<name>`, and publish the result.

    Every benchmark has the flags `--out` and `--allow-dirty`. Without the second, it is refused if files of the source
    tree differ from the commit, because the result would name the wrong commit.

    Args:
        name: Module below `benchmarks`.
        options: Dataclass of the benchmark's own flags.
        measure: The benchmark.
        packages: Further packages whose versions are recorded: the peers.

    Raises:
        SystemExit: An error of this project, or a tree that is not clean.
    """
    try:
        given: Any = tyro.cli(_flags(options), prog=f"python -m benchmarks.{name}", description=inspect.getdoc(options))
        if not given.allow_dirty:
            check_tree(given.out)
        started = origin(packages)
        with ended_by_signals(), Display(live=False) as display:  # writes to the log while a benchmark runs
            display.add_phase(f"benchmarks.{name}")
            result = measure(given.options)
        publish(result, started, given.out)
    except StepToolError as error:
        raise SystemExit(f"error: {error}") from error


def check_tree(out: Path | None) -> None:
    """Raise `SystemExit` if there is a folder `out` and files of the source tree differ from the commit."""
    changed = changed_files(out) if out is not None else []
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise SystemExit(
            f"error: the source tree differs from its commit ({', '.join(changed[:_SHOWN])}{more}), so the result "
            "would name the wrong commit; commit or stash the changes, or give --allow-dirty"
        )


def _flags(options: type[Any]) -> type[Any]:
    """Return the options of a benchmark with the common flags."""
    out = Annotated[Path | None, tyro.conf.arg(metavar="DIR", help="Folder for the result files.")]
    allow = Annotated[bool, tyro.conf.arg(help="Write results of a changed tree too; their first line says so.")]
    return make_dataclass(
        options.__name__,
        [
            ("options", Annotated[options, tyro.conf.arg(name="")]),
            ("out", out, field(default=RESULTS)),
            ("allow_dirty", allow, field(default=False)),
        ],
        frozen=True,
    )
