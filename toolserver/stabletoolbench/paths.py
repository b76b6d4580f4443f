"""Checks of names that become names of files and folders."""

from __future__ import annotations

from toolserver.errors import DataError


def folder_name(name: str) -> str:
    """Return `name` if it can be the name of one file or folder.

    Raises:
        DataError: The name is a path, or not a valid name.
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0") or len(name.encode()) > 240:
        raise DataError(f"{name!r:.300} cannot be the name of a file or folder")
    return name
