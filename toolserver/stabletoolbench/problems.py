"""What an import finds wrong: listed and counted, or, when strict, raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from toolserver.errors import DataError


class ImportProblem(NamedTuple):
    """One entry that could not be read: the file, where in it, and why."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.reason}"


class ImportProblems:
    """Collects problems. With `strict`, the first one raises `DataError` instead."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.found: list[ImportProblem] = []

    def add(self, file: Path | str, key: object, reason: object) -> None:
        """Note that the entry `key` of `file` (or all of it, when `key` is empty) could not be read."""
        problem = ImportProblem(str(file), f"{key!s:.200}", f"{reason!s:.300}")
        if self.strict:
            raise DataError(str(problem))
        self.found.append(problem)


def read_json(path: Path, problems: ImportProblems) -> Any:
    """The JSON value of a file; `None`, and a problem, when it has none.

    NaN and Infinity, which Python writes though JSON has no such numbers, become text.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=str)
    except (OSError, ValueError, RecursionError) as error:
        problems.add(path, "", f"not readable as JSON: {error}")
        return None
