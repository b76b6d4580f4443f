"""Errors of an import: collected or, if strict, raised."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from toolserver.errors import DataError


class ImportProblem(NamedTuple):
    """Entry that could not be read: file, key and reason."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.reason}"


class ImportProblems:
    """Collects problems. If strict, the first problem raises `DataError`."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.found: list[ImportProblem] = []

    def add(self, file: Path | str, key: object, reason: object) -> None:
        """Add an entry that could not be read; an empty `key` means the whole file."""
        problem = ImportProblem(str(file), f"{key!s:.200}", f"{reason!s:.300}")
        if self.strict:
            raise DataError(str(problem))
        self.found.append(problem)


def read_json(path: Path, problems: ImportProblems) -> Any:
    """Parse a JSON file. Add a problem and return `None` if it is not JSON.

    NaN and Infinity, which Python writes and JSON does not have, become text.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=str)
    except (OSError, ValueError, RecursionError) as error:
        problems.add(path, "", f"not readable as JSON: {error}")
        return None
