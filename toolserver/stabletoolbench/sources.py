"""Files of StableToolBench's folders: search for those to import, and names of those to write."""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from toolserver.errors import DataError

TOOLS = "tools"
RESPONSES = "tool_response_cache"
EXPECTED = f"a folder with {TOOLS}/, {RESPONSES}/, query files or judged runs is needed"
"""Remedy for a folder without anything to import."""
_NOT_IN_NAMES = re.compile("[/\\\\\0\ud800-\udfff]")
_EPISODE_FIELDS = {"answer_steps", "final_step", "is_solved"}


class Sources(NamedTuple):
    """JSON files below a folder, by their place; each list is sorted.

    `documents` are outside `tools` and `tool_response_cache`; `kind_of` returns their kind by their content.
    """

    tools: list[Path]
    responses: list[Path]
    documents: list[Path]


class DocumentKind(StrEnum):
    """Kind of a document."""

    QUERIES = "queries"
    JUDGED_RUN = "judged runs"
    OTHER = "other files"


def find_sources(directory: Path) -> Sources:
    """Find the JSON files below `directory`, which may itself be a `tools` or `tool_response_cache` folder.

    Raises:
        DataError: The folder does not exist or has no JSON file.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder")
    tools, responses, documents = list[Path](), list[Path](), list[Path]()
    top = directory.absolute()
    seen: set[Path] = set()
    for folder, names, files in os.walk(top, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:  # links may form cycles
            names.clear()
            continue
        seen.add(here.resolve())
        folders = {top.name, *here.relative_to(top).parts}
        place = responses if RESPONSES in folders else tools if TOOLS in folders else documents
        place.extend(directory / here.relative_to(top) / name for name in files if name.endswith(".json"))
    if not (tools or responses or documents):
        raise DataError(f"{directory}: no JSON files; {EXPECTED}")
    return Sources(sorted(tools), sorted(responses), sorted(documents))


def kind_of(content: Any) -> DocumentKind:
    """Return the kind of a document by its content."""
    if isinstance(content, list) and any(isinstance(item, dict) and "api_list" in item for item in content):
        return DocumentKind.QUERIES
    if isinstance(content, dict) and any(_is_episode(item) for item in content.values()):
        return DocumentKind.JUDGED_RUN
    return DocumentKind.OTHER


def _is_episode(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() >= _EPISODE_FIELDS and isinstance(item["answer_steps"], str)


def folder_name(name: str) -> str:
    """Return `name`. Raises `DataError` if it is a path or not a valid name of one file or folder."""
    if name in ("", ".", "..") or _NOT_IN_NAMES.search(name) or len(name.encode()) > 240:
        raise DataError(f"{name!r:.300} cannot be the name of a file or folder")
    return name
