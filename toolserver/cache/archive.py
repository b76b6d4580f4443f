"""Archive of a cache and its catalog: one file of JSON Lines, compressed by zstd, with a checksum.

    {"format": "toolserver-archive", "version": 1}
    {"api": {...}}                                   one per API (`views.documentation`), in the order of names
    {"call": [category, tool, API], "arguments": "...", "body": "...", "outcome": ..., "provenance": ...,
     "source": ..., "recorded_at": ...}              one per recorded call, in the order of keys
    {"end": {"apis": n, "calls": n, "blake2b": "..."}}

`arguments` and `body` are JSON texts, so that import restores them byte for byte. The checksum covers all lines but
the last. The same content gives the same bytes, with the same version of zstd.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from typing import Any, cast

import zstandard

from toolserver.cache import CacheEntry, OnConflict, PutResult, ResponseCache, StoreProblem
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.catalog.views import documentation, read_documentation
from toolserver.errors import CacheError, ConflictError, DataError
from toolserver.new_file import new_file

_HEADER = {"format": "toolserver-archive", "version": 1}
_LEVEL = 9  # compression level of zstd: written once, read often
_BATCH = 1000  # calls per transaction
_LINE_BYTES = 64 * 2**20  # maximum size of a line, so that an import needs a bounded memory


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """Result of an import: numbers of APIs and calls by their results."""

    apis: Counter[AddResult] = field(default_factory=Counter)
    calls: Counter[PutResult] = field(default_factory=Counter)


def export_archive(
    path: str | Path, cache: ResponseCache, catalog: Catalog, left_out: list[StoreProblem] | None = None
) -> tuple[int, int]:
    """Write `cache` and `catalog` into one file. Return the numbers of APIs and calls.

    The file is replaced when the new one is complete: a killed export leaves the old one.

    Args:
        path: File to write.
        cache: Recorded calls.
        catalog: Documentation of the APIs.
        left_out: List that gets the entries that cannot be written. Without it, the first one raises.

    Raises:
        CacheError: The store cannot be read, or an entry is damaged.
        ConfigurationError: The file cannot be written; an existing one is unchanged.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with new_file(Path(path)) as raw, compressor.stream_writer(raw, closefd=False) as stream:
        return _write(stream, cache, catalog, left_out)


def import_archive(
    path: str | Path, cache: ResponseCache, catalog: Catalog, *, on_conflict: OnConflict = "keep"
) -> ArchiveReport:
    """Read a file of `export_archive` into `cache` and `catalog` (in memory; the caller saves it).

    Raises:
        DataError: The file is damaged or not an archive; nothing was imported.
        ConflictError: A call has another answer, and `on_conflict` is `error`.
    """
    path = Path(path)
    check_archive(path)
    report = ArchiveReport()
    lines = (_parse(path, line) for line in _lines(path))
    calls = _after_apis(lines, catalog, report)
    while batch := list(islice(calls, _BATCH)):
        with cache.transaction():
            for item in batch:
                report.calls[_put(cache, item, on_conflict)] += 1
    return report


def check_archive(path: str | Path) -> None:
    """Read an archive to its end. Raises `DataError` unless it is complete and matches its checksum."""
    path = Path(path)
    digest = blake2b()
    last = ""
    for number, line in enumerate(_lines(path)):
        if number == 0 and _parse(path, line) != _HEADER:
            raise DataError(f"{path}: not an archive of this version: {line:.100}")
        digest.update(last.encode())
        last = line
    end = _parse(path, last).get("end")
    if not isinstance(end, dict):
        raise DataError(f"{path}: the end is missing; the file was cut")
    if end.get("blake2b") != digest.hexdigest():
        raise DataError(f"{path}: the content does not match the checksum")


def _write(
    stream: zstandard.ZstdCompressionWriter,
    cache: ResponseCache,
    catalog: Catalog,
    left_out: list[StoreProblem] | None,
) -> tuple[int, int]:
    digest = blake2b()

    def write(line: bytes) -> None:
        stream.write(line)
        digest.update(line)

    write(_line(_HEADER))
    for spec in catalog:
        write(_line({"api": documentation(spec)}))
    calls = 0
    for key, entry in cache.entries(left_out):
        try:
            write(_line(_call(entry)))
            calls += 1
        except CacheError as error:
            if left_out is None:
                raise
            left_out.append(StoreProblem(key.hex(), str(error)))
    end = {"apis": len(catalog), "calls": calls, "blake2b": digest.hexdigest()}
    stream.write(_line({"end": end}))
    return len(catalog), calls


def _call(entry: CacheEntry) -> dict[str, Any]:
    call, source, recorded_at = entry.describe()
    try:
        body = entry.body.decode()
    except UnicodeDecodeError as error:
        raise CacheError(f"the body is not UTF-8 ({error}); see `toolserver verify`") from None
    return {
        "call": [call.category, call.tool, call.api],
        "arguments": json.dumps(call.arguments),
        "body": body,
        "outcome": entry.outcome,
        "provenance": entry.provenance,
        "source": source,
        "recorded_at": recorded_at,
    }


def _line(item: dict[str, Any]) -> bytes:
    line = json.dumps(item, separators=(",", ":")).encode() + b"\n"
    if len(line) > _LINE_BYTES:
        raise CacheError(
            f"an entry of {len(line):,} bytes is too large for an archive, which has {_LINE_BYTES:,} at most"
        )
    return line


def _lines(path: Path) -> Iterator[str]:
    """Iterate over the lines of an archive, each of which is bounded: a few bytes can be unpacked to gigabytes."""
    try:
        with (
            path.open("rb") as raw,
            zstandard.ZstdDecompressor().stream_reader(raw) as stream,
            BufferedReader(cast(RawIOBase, stream)) as lines,
        ):
            while line := lines.readline(_LINE_BYTES + 1):
                if len(line) > _LINE_BYTES:
                    raise DataError(f"{path}: not an archive: a line has more than {_LINE_BYTES:,} bytes")
                yield line.decode()
    except (OSError, zstandard.ZstdError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable archive ({error})") from error


def _parse(path: Path, line: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not an archive: {error}") from None
    return item if isinstance(item, dict) else {}


def _after_apis(lines: Iterator[dict[str, Any]], catalog: Catalog, report: ArchiveReport) -> Iterator[dict[str, Any]]:
    """Add the APIs of `lines` to `catalog` and yield the calls."""
    for item in lines:
        if "api" in item:
            report.apis[catalog.add(read_documentation(item["api"]))] += 1
        elif "call" in item:
            yield item


def _put(cache: ResponseCache, item: dict[str, Any], on_conflict: OnConflict) -> PutResult:
    try:
        category, tool, api = item["call"]
        source, recorded_at = item["source"], item["recorded_at"]
        if not (isinstance(source, str) and isinstance(recorded_at, str)):
            raise TypeError("source and recorded_at must be text")
        return cache.put(
            ToolCall(category, tool, api, json.loads(item["arguments"])),
            item["body"].encode(),
            Outcome(item["outcome"]),
            Provenance(item["provenance"]),
            source=source,
            recorded_at=recorded_at,
            on_conflict=on_conflict,
        )
    except ConflictError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"not a recorded call ({error!r}): {item!s:.200}") from None
