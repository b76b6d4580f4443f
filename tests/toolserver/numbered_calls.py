"""Calls and answers for the tests of the store, and what its other processes run."""

from pathlib import Path

from tests.toolserver.apis import write_json
from toolserver.cache import PutResult, ResponseCache, canonical_key
from toolserver.catalog.api_schema import ToolCall, encode_body
from toolserver.errors import CacheError


def numbered_call(number: int) -> ToolCall:
    return ToolCall("Data", f"Tool {number % 7}", "Search", {"number": number, "unit": "m"})


def key_of(call: ToolCall) -> bytes:
    assert isinstance(call.arguments, dict)
    return canonical_key(call.category, call.tool, call.api, call.arguments)


def answer(number: int, writer: str = "") -> bytes:
    return encode_body("", {"number": number, "writer": writer, "text": "x" * (number % 500)})


def put_numbers(path: str | Path, numbers: range, writer: str) -> int:
    """Record an answer of `writer` for every number; how many were the first."""
    with ResponseCache(path) as cache:
        results = [cache.put(numbered_call(number), answer(number, writer)) for number in numbers]
    return results.count(PutResult.ADDED)


def read_until_there(path: str | Path, numbers: range, writers: tuple[str, ...]) -> int:
    """Read until every number has an answer; how many were not of one of `writers`, or changed on the way."""
    allowed = {number: {answer(number, writer) for writer in writers} for number in numbers}
    seen: dict[int, bytes] = {}
    wrong = 0
    with ResponseCache(path, read_only=True, memory_entries=0) as cache:
        while len(seen) < len(numbers):
            for number in numbers:
                entry = cache.get(key_of(numbered_call(number)))
                if entry is not None:
                    wrong += entry.body not in allowed[number] or seen.setdefault(number, entry.body) != entry.body
    return wrong


def count(place: str | Path) -> int:
    """Number of entries; 0 while there is no cache."""
    try:
        with ResponseCache(place, read_only=True, memory_entries=0) as cache:
            return len(cache)
    except CacheError:
        return 0


def write_responses_folder(folder: Path, files: int, calls: int) -> None:
    """A `tool_response_cache` of invented calls, as StableToolBench lays it out."""
    for file in range(files):
        target = folder / "tool_response_cache" / "Data" / f"tool_{file}_for_Data" / "search.json"
        keys = [str({"number": number, "file": file}) for number in range(calls)]
        write_json(target, {key: {"error": "", "response": f"{file} {n}"} for n, key in enumerate(keys)})
