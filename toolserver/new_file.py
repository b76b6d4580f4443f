"""Writer of a file that is complete or absent, also after a kill or on a full disk."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from toolserver.errors import ConfigurationError

_NAME = 50  # characters of the target's name in the other one, so that it is no longer than a file system allows


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give an empty file, which replaces `path` at the end of the block; its folder is made.

    Also removes what killed processes have left of the same file.

    Raises:
        ConfigurationError: The file cannot be written; an existing one is unchanged.
    """
    prefix = path.name[:_NAME]
    partial = path.with_name(f"{prefix}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent, re.compile(rf"{re.escape(prefix)}\.\d+\.partial"))
        try:
            with partial.open("wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror or error}; free some space, or name a place that can be written"
        ) from error


def _remove_abandoned(folder: Path, name: re.Pattern[str]) -> None:
    """Remove the files of that name that no process has locked."""
    for path in folder.iterdir():
        if name.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
