"""Flag `--cache` and output of the commands: results to standard output, problems and progress to standard error."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track

CachePlace = Annotated[str, tyro.conf.arg(metavar="DIR|URL")]
"""A directory or a `redis://` URL; text, as a path would lose one of the URL's slashes."""

UNFINISHED = "the import of {} is at work or was interrupted; repeat it to finish it"
"""Message about an import of `unfinished_imports`."""

_MEANING = {
    "kept": "kept (had another answer or documentation; the first stays)",
    "replaced": "replaced (had another answer)",
    "unchanged": "unchanged",
}


def say(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(line + "\n")


def complain(line: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(line + "\n")


def show_progress(files: Sequence[Path]) -> Iterable[Path]:
    """Iterate over `files` with a progress bar if standard error is a terminal."""
    console = Console(stderr=True)
    return track(files, description="Importing", console=console, disable=not console.is_terminal, transient=True)


def say_counts(title: str, counts: Mapping[Any, int]) -> None:
    """Write `Calls: 1,384 added, 4 unchanged`."""
    parts = [f"{count:,} {_MEANING.get(name, name)}" for name, count in counts.items()]
    say(f"{title}: {', '.join(parts) or 'none'}")


def say_next(place: str, *commands: str) -> None:
    """Write the commands to run next, each with `--cache PLACE`. `place` must not hold a password."""
    say("Next: " + ", ".join(f"`toolserver {command} --cache {quote(place)}`" for command in commands))
