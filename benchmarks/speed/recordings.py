"""Generated recordings of any number, in StableToolBench's layout and in ours."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.catalog import Catalog
from toolserver.stabletoolbench import import_folder

Request = dict[str, str]
"""Return a request of `/virtual`."""


def write_recordings(folder: Path, apis: int, entries: int) -> list[Request]:
    """Write a `tool_response_cache` of `apis` files with `entries` recordings each. Return a request per recording.

    Sizes follow the published recordings: 150 to 1,400 bytes, with a median near 300.
    """
    requests = []
    for number in range(apis):
        tool = f"tool_{number}"
        file = folder / "tool_response_cache" / "Data" / f"{tool}_for_Data" / "search.json"
        file.parent.mkdir(parents=True)
        calls = [{"query": f"{tool} {entry}", "limit": str(entry % 50)} for entry in range(entries)]
        file.write_text(json.dumps({str(call): {"error": "", "response": _response(call)} for call in calls}))
        requests += [_request(tool, call) for call in calls]
    return requests


def import_recordings(folder: Path, cache: Path) -> None:
    """Import a `tool_response_cache` into a cache directory."""
    catalog = Catalog()
    with ResponseCache(cache, memory_entries=0) as opened:
        import_folder(folder, opened, catalog, strict=True)
    save_catalog(catalog, cache)


def _response(call: dict[str, str]) -> dict[str, Any]:
    draw = int.from_bytes(blake2b(json.dumps(call).encode(), digest_size=4).digest(), "big")
    rows = 1 + min(draw % 7, draw // 7 % 9)
    return {"query": call["query"], "rows": [{"id": draw % 10_007 + row, "name": f"Name {row}", "rating": row / 4 + 1,
                                              "tags": ["first", "second"]} for row in range(rows)]}  # fmt: skip


def _request(tool: str, call: dict[str, str]) -> Request:
    names = {"category": "Data", "tool_name": tool, "api_name": "search"}
    return {**names, "tool_input": json.dumps(call), "strip": "", "toolbench_key": ""}
