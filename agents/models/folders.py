"""Folders that are replaced as a whole, and the files in them that are of somebody else."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from safetensors import SafetensorError

from agents.errors import CheckpointError

OwnFiles = Callable[[Path], Sequence[str]]
"""Function that returns the paths, within a folder, of the files that may be removed, in the order of their removal."""


@contextmanager
def new_folder(folder: Path, kind: str, own: OwnFiles | None = None) -> Iterator[Path]:
    """Give an empty folder, which replaces `folder` at the end of the block; `folder` is complete or unchanged.

    Args:
        folder: The folder.
        kind: Name of its content, for errors.
        own: Function of the files that are replaced; others are moved to a folder beside it, which is named on stderr.
            They do not stay in `folder`, since a reader of its new content might read them. Without the function, all
            files are replaced.

    Raises:
        CheckpointError: The files cannot be written.
    """
    partial, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("partial", "old"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        _remove_replaced(old, folder, own)  # of a crash
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        _remove_replaced(old, folder, own)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write the {kind} {folder}: {error}") from error


def remove(folder: Path, own: OwnFiles) -> list[str]:
    """Remove a folder but for other files than its own. Return these, as `other_files` does."""
    others = other_files(folder, own)
    if others != ["."]:
        found = _files(folder)
        for name in own(folder):
            if name in found:
                (folder / name).unlink()
    if not others:
        shutil.rmtree(folder)
    return others


def other_files(folder: Path, own: OwnFiles) -> list[str]:
    """Return the paths, within a folder, of the files that are not its own.

    It is `.` alone where `folder` is a file, or the working directory.
    """
    if not folder.exists():
        return []
    if not folder.is_dir() or not folder.name:
        return ["."]
    known = own(folder)
    return [name for name in _files(folder) if name not in known]


def first_named(others: Sequence[str]) -> str:
    """Return the end of a message on other files, which names one of them."""
    return "" if others[0] == "." else f", as {others[0]}"


def _remove_replaced(old: Path, folder: Path, own: OwnFiles | None) -> None:
    """Remove a folder that was moved from `folder` to `old`, as far as possible; move other files aside."""
    if own is None:
        shutil.rmtree(old, ignore_errors=True)
        return
    with suppress(OSError):
        if old.exists() and (others := remove(old, own)):
            places = (folder.with_name(f"{folder.name}-kept-{number}") for number in count(1))
            place = next(path for path in places if not path.exists())
            old.rename(place)
            sys.stderr.write(f"{folder} held other files{first_named(others)}; they are now in {place}\n")


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
