"""`toolserver export archive` and `toolserver export stabletoolbench`."""

from pathlib import Path
from shlex import quote

from tyro.conf import Positional

from toolserver.cache import ResponseCache, StoreProblem
from toolserver.cache.archive import export_archive
from toolserver.cache.catalog_store import load_catalog, unfinished_imports
from toolserver.commands.output import UNFINISHED, CachePlace, complain, say
from toolserver.console import Result
from toolserver.stabletoolbench import write_responses, write_tools
from toolserver.stabletoolbench.sources import RESPONSES, TOOLS


def archive(file: Positional[Path], /, *, cache: CachePlace) -> Result:
    """Write a cache and its catalog into one checksummed file (JSON Lines, zstd).

    Example: `toolserver export archive recordings.jsonl.zst --cache data/cache`

    Import restores the recordings byte for byte. What cannot be exported is listed on standard error, with status 1.

    Args:
        file: File to write; it is replaced when the new one is complete.
        cache: Directory of the cache, or redis://host:port/db?prefix=name.
    """
    left_out = list[StoreProblem]()
    with ResponseCache(cache, read_only=True, memory_entries=0) as responses:
        apis, calls = export_archive(file, responses, load_catalog(cache), left_out)
        problems = _complain(cache, responses, left_out)
    say(f"Wrote {file}: {apis:,} APIs, {calls:,} calls, {file.stat().st_size:,} bytes")
    say(f"Next: `toolserver import archive {quote(str(file))} --cache DIR`")
    record = {"wrote": file, "apis": apis, "calls": calls, "bytes": file.stat().st_size, "problems": problems}
    return Result(record, 1 if problems else 0)


def stabletoolbench(directory: Positional[Path], /, *, cache: CachePlace) -> Result:
    """Write a cache and its catalog as folders for StableToolBench's own server.

    Example: `toolserver export stabletoolbench StableToolBench/server --cache data/cache`

    The format has no fields for source, time and outcome; `toolserver export archive` keeps them. What cannot be
    exported is listed on standard error, with status 1.

    Args:
        directory: Folder to write tools/ and tool_response_cache/ into; files of the same names are replaced.
        cache: Directory of the cache, or redis://host:port/db?prefix=name.
    """
    left_out = list[StoreProblem]()
    with ResponseCache(cache, read_only=True, memory_entries=0) as responses:
        tools = write_tools(directory / TOOLS, load_catalog(cache), left_out)
        calls = write_responses(directory / RESPONSES, responses, left_out)
        problems = _complain(cache, responses, left_out)
    say(f"Wrote {directory / TOOLS} and {directory / RESPONSES}: {tools:,} tools, {calls:,} calls")
    say(f"Next: start StableToolBench's server with its folders replaced by those of {directory}")
    record = {"wrote": [directory / TOOLS, directory / RESPONSES], "tools": tools, "calls": calls, "problems": problems}
    return Result(record, 1 if problems else 0)


def _complain(cache: CachePlace, responses: ResponseCache, left_out: list[StoreProblem]) -> list[str]:
    """Say what the export lacks, and return it."""
    problems = [f"not exported: {problem.reason}" for problem in left_out]
    if others := responses.count_others():
        problems.append(f"not exported: {others:,} rows of another kind, which toolserver did not write")
    problems += [UNFINISHED.format(source) for source in unfinished_imports(cache)]
    for problem in problems:
        complain(f"{responses.location}: {problem}")
    return problems
