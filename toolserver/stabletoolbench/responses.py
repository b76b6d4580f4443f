"""Recorded responses in StableToolBench's `tool_response_cache/<Category>/<tool>_for_<Category>/<api>.json`.

Each file is an object whose keys are `str()` of the arguments and whose values are
`{"error": ..., "response": ...[, "is_fake": bool]}`.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from toolserver.cache import CacheEntry, ResponseCache, StoreProblem
from toolserver.calls.call_key import canonical_arguments
from toolserver.calls.naming import standardize_category
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, decode_body, encode_body
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.errors import CacheError, DataError
from toolserver.new_file import new_file
from toolserver.stabletoolbench.literals import read_dict
from toolserver.stabletoolbench.problems import ImportProblems, read_json
from toolserver.stabletoolbench.sources import folder_name

_SIMULATOR_FAILED = "Failed to generate fake response"
"""Text that StableToolBench's server records when its language model gave no usable answer."""


class RecordedCall(NamedTuple):
    """A call with its recorded answer and its source."""

    call: ToolCall
    body: bytes
    outcome: Outcome
    provenance: Provenance
    source: str


def read_responses(path: Path, root: Path, problems: ImportProblems) -> Iterator[RecordedCall]:
    """Iterate over the recorded calls of one API's file. `source` is relative to `root`."""
    content = read_json(path, problems)
    if content is None:
        return
    if not isinstance(content, dict):
        problems.add(path, "", f"must be an object of recorded calls, not {type(content).__name__}")
        return
    category = path.parent.parent.name
    source = str(path.relative_to(root))
    for key, value in content.items():
        try:
            call = ToolCall(category, path.parent.name, path.stem, read_dict(key))
            yield recorded_call(call, value, source)
        except DataError as error:
            problems.add(path, key, error)


def recorded_call(call: ToolCall, value: Any, source: str) -> RecordedCall:
    """Return a call with its answer `{"error": ..., "response": ...}`.

    Raises:
        DataError: The answer has another form, or the arguments are not JSON data.
    """
    if not isinstance(value, dict) or not {"error", "response"} <= value.keys():
        raise DataError(f'the answer must be {{"error": ..., "response": ...}}, not {value!r:.100}')
    unknown = value.keys() - {"error", "response", "is_fake"}
    if unknown:
        raise DataError(f"the answer has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    error = value["error"]
    if not isinstance(error, str):
        raise DataError(f"error must be text, not {error!r:.100}")
    generated = bool(value.get("is_fake")) or error == _SIMULATOR_FAILED
    provenance = Provenance.GENERATED if generated else Provenance.RECORDED
    recorded = RecordedCall(call, _body(error, value["response"]), outcome_of_error(error), provenance, source)
    if isinstance(call.arguments, dict):
        canonical_arguments(call.arguments)  # raises what the cache would raise, here with file and key
    return recorded


def _body(error: str, response: Any) -> bytes:
    try:
        body = encode_body(error, response)
        decode_body(body)
    except (ValueError, RecursionError) as reason:
        raise DataError(f"the answer cannot be written as JSON: {reason}") from None
    return body


def write_responses(folder: Path, cache: ResponseCache, left_out: list[StoreProblem] | None = None) -> int:
    """Write every recorded call below `folder` in the format of StableToolBench's server. Return their number.

    Args:
        folder: Folder to write; files of the same names are replaced.
        cache: Recorded calls.
        left_out: List that gets the entries that are damaged or whose names cannot be those of a file and its folders.
            Without it, the first one raises.

    Raises:
        CacheError: The store cannot be read, or an entry is damaged.
        DataError: A name cannot be that of a file or folder.
        ConfigurationError: A file cannot be written.
    """
    located = list[tuple[Path, bytes]]()
    for key, entry in cache.entries(left_out):
        try:
            located.append((folder / _place(entry), key))
        except (CacheError, DataError) as error:
            if left_out is None:
                raise
            left_out.append(StoreProblem(key.hex(), str(error)))
    located.sort()
    for target, calls in groupby(located, key=lambda item: item[0]):
        entries = [found for _, key in calls if (found := cache.get(key)) is not None]
        with new_file(target) as file:
            file.write(json.dumps(dict(sorted(map(_written, entries))), indent=4).encode())
    return len(located)


def _place(entry: CacheEntry) -> Path:
    """Return the path of the file that holds an entry, below the folder of all."""
    call = entry.describe().call
    try:
        decode_body(entry.body)
    except ValueError as error:
        raise CacheError(f"the body cannot be served ({error}); see `toolserver verify`") from None
    category = standardize_category(call.category)
    return Path(folder_name(category)) / folder_name(f"{call.tool}_for_{category}") / f"{folder_name(call.api)}.json"


def _written(entry: CacheEntry) -> tuple[str, dict[str, Any]]:
    value = json.loads(entry.body)
    if entry.provenance is Provenance.GENERATED and value["error"] != _SIMULATOR_FAILED:
        value["is_fake"] = True
    return str(entry.describe().call.arguments), value
