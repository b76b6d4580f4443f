"""Search for files to import below a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from toolserver.errors import DataError

TOOLS = "tools"
RESPONSES = "tool_response_cache"
_EPISODE_FIELDS = {"answer_steps", "final_step", "is_solved"}


@dataclass(slots=True)
class Sources:
    """JSON files below a folder, by their place; each list is sorted.

    `documents` are outside `tools` and `tool_response_cache`; `kind_of` returns their kind by their content.
    """

    tools: list[Path] = field(default_factory=list)
    responses: list[Path] = field(default_factory=list)
    documents: list[Path] = field(default_factory=list)

    def place_of(self, folders: set[str]) -> list[Path]:
        """Return the list for files below folders of these names."""
        if RESPONSES in folders:
            return self.responses
        return self.tools if TOOLS in folders else self.documents

    def __len__(self) -> int:
        return len(self.tools) + len(self.responses) + len(self.documents)


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
    sources = Sources()
    top = directory.absolute()
    seen: set[Path] = set()
    for folder, names, files in os.walk(top, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:  # links may form cycles
            names.clear()
            continue
        seen.add(here.resolve())
        place = sources.place_of({top.name, *here.relative_to(top).parts})
        place.extend(directory / here.relative_to(top) / name for name in files if name.endswith(".json"))
    for found in (sources.tools, sources.responses, sources.documents):
        found.sort()
    if not len(sources):
        raise DataError(f"{directory}: no JSON files; a folder with {TOOLS}/, {RESPONSES}/, queries or runs is needed")
    return sources


def kind_of(content: Any) -> DocumentKind:
    """Return the kind of a document by its content."""
    if isinstance(content, list) and any(isinstance(item, dict) and "api_list" in item for item in content):
        return DocumentKind.QUERIES
    if isinstance(content, dict) and any(_is_episode(item) for item in content.values()):
        return DocumentKind.JUDGED_RUN
    return DocumentKind.OTHER


def _is_episode(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() >= _EPISODE_FIELDS and isinstance(item["answer_steps"], str)
