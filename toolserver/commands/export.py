"""`toolserver export archive` and `toolserver export stabletoolbench`."""

from pathlib import Path

from tyro.conf import Positional

from toolserver.cache import ResponseCache
from toolserver.cache.archive import export_archive
from toolserver.cache.catalog_store import load_catalog
from toolserver.commands.output import CachePlace, say
from toolserver.stabletoolbench import write_responses, write_tools
from toolserver.stabletoolbench.sources import RESPONSES, TOOLS


def archive(file: Positional[Path], /, *, cache: CachePlace) -> None:
    """Write a cache and its catalog into one checksummed file (JSON Lines, zstd).

    Example: `toolserver export archive recordings.jsonl.zst --cache data/cache`

    Import restores the recordings byte for byte.

    Args:
        file: File to write; it is replaced when the new one is complete.
        cache: Directory of the cache, or redis://host:port/db?prefix=name.
    """
    with ResponseCache(cache, read_only=True, memory_entries=0) as responses:
        apis, calls = export_archive(file, responses, load_catalog(cache))
    say(f"Wrote {file}: {apis:,} APIs, {calls:,} calls, {file.stat().st_size:,} bytes")
    say(f"Next: `toolserver import archive {file} --cache DIR`")


def stabletoolbench(directory: Positional[Path], /, *, cache: CachePlace) -> None:
    """Write a cache and its catalog as folders for StableToolBench's own server.

    Example: `toolserver export stabletoolbench StableToolBench/server --cache data/cache`

    The format has no fields for source, time and outcome; `toolserver export archive` keeps them.

    Args:
        directory: Folder to write tools/ and tool_response_cache/ into; files of the same names are replaced.
        cache: Directory of the cache, or redis://host:port/db?prefix=name.
    """
    with ResponseCache(cache, read_only=True, memory_entries=0) as responses:
        tools = write_tools(directory / TOOLS, load_catalog(cache))
        calls = write_responses(directory / RESPONSES, responses)
    say(f"Wrote {directory / TOOLS} and {directory / RESPONSES}: {tools:,} tools, {calls:,} calls")
    say(f"Next: start StableToolBench's server with its folders replaced by those of {directory}")
