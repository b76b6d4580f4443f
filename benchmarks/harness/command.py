"""Command line of a benchmark: flags from its dataclass, a clean tree for its results, errors of ours in one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from agents.reporting.console import Display
from benchmarks.harness.report import changed_files
from steptool_env.errors import StepToolError

Options = TypeVar("Options")

_SHOWN = 5  # changed files that an error names


def run_command(name: str, options: type[Options], main: Callable[[Options], None]) -> None:
    """Run `main` with the options of the command line of `python -m benchmarks.<name>`.

    Every benchmark has the flag `--allow-dirty`. Without it, one whose options have a folder `out` is refused before it
    measures when files of the source tree differ from the commit: its result would name a commit that it is not of.

    Raises:
        SystemExit: An error of ours, or a tree that is not clean.
    """
    try:
        given: Any = tyro.cli(_flags(options), prog=f"python -m benchmarks.{name}", description=inspect.getdoc(options))
        if not given.allow_dirty:
            check_tree(getattr(given.options, "out", None))
        with Display(live=False) as display:  # a log does not stand still while a benchmark measures
            display.add_phase(f"benchmarks.{name}")
            main(given.options)
    except StepToolError as error:
        raise SystemExit(f"error: {error}") from error


def check_tree(out: Path | None) -> None:
    """Raise `SystemExit` where results would go to `out` and files of the source tree differ from the commit."""
    changed = changed_files(out) if out is not None else []
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise SystemExit(
            f"error: the source tree differs from its commit ({', '.join(changed[:_SHOWN])}{more}), so the result "
            "would name a commit that it is not of; commit or stash the changes, or say --allow-dirty"
        )


def _flags(options: type[Any]) -> type[Any]:
    """The options of a benchmark, with the flag that all have."""
    allow = Annotated[
        bool, tyro.conf.arg(help="Write results of a tree with changes too; they say so in the first line.")
    ]
    return make_dataclass(
        options.__name__,
        [("options", Annotated[options, tyro.conf.arg(name="")]), ("allow_dirty", allow, field(default=False))],
        frozen=True,
    )
