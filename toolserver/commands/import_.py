"""`toolserver import stabletoolbench`, `complexfuncbench` and `archive`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from toolserver.cache import OnConflict, ResponseCache
from toolserver.cache.archive import import_archive
from toolserver.cache.catalog_store import begin_import, finish_import, load_catalog, save_catalog, unfinished_imports
from toolserver.cache.redis_url import is_redis
from toolserver.commands.output import CachePlace, complain, say, say_counts, say_next, show_progress
from toolserver.complexfuncbench import find_data, import_recordings, read_apis, read_tasks
from toolserver.console import Result
from toolserver.errors import DataError
from toolserver.stabletoolbench import import_folder
from toolserver.stabletoolbench.sources import EXPECTED


def stabletoolbench(
    directory: Positional[Path], /, *, cache: CachePlace, strict: bool = False, on_conflict: OnConflict = "keep"
) -> Result:
    """Import StableToolBench's folders, query files and judged runs.

    Example: `toolserver import stabletoolbench StableToolBench/server --cache data/cache`

    Entries that cannot be read are listed with file, key and reason; the rest is imported. A repeated import changes
    nothing. A folder without an API and a recorded call is an error.

    Args:
        directory: Folder with any of tools/, tool_response_cache/, query files and judged runs, at any depth.
        cache: Directory of the cache, made if it does not exist, or redis://host:port/db?prefix=name.
        strict: Stop at the first entry that cannot be read.
        on_conflict: Policy for a call that has another answer already.
    """
    catalog = load_catalog(cache)
    with importing(cache, directory) as responses:
        report = import_folder(
            directory, responses, catalog, strict=strict, on_conflict=on_conflict, progress=show_progress
        )
        if not (report.apis or report.calls):
            for problem in report.problems:
                complain(str(problem))
            raise DataError(f"{directory}: holds no API and no recorded call; {EXPECTED}")
        save_catalog(catalog, cache)
    say_counts("Files", report.files)
    say_counts("APIs", report.apis)
    say_counts("Calls", report.calls)
    if report.skipped:
        say_counts("Steps of judged runs that record no call", report.skipped)
    if report.problems:
        say(f"Problems: {len(report.problems):,} entries could not be read (listed on standard error)")
    for problem in report.problems:
        complain(str(problem))
    record = {"files": report.files, "apis": report.apis, "calls": report.calls, "skipped": report.skipped}
    return _written(responses.location, record, [str(problem) for problem in report.problems])


def complexfuncbench(directory: Positional[Path | None] = None, /, *, cache: CachePlace) -> Result:
    """Import ComplexFuncBench's recorded answers, as the package nestful-wrapper ships them.

    Example: `toolserver import complexfuncbench --cache data/complexfuncbench`

    Where a call was recorded twice with different answers, the first stays and a later one is kept for its own task. A
    repeated import changes nothing.

    Args:
        directory: Folder of the package; by default that of the installed one.
        cache: Directory of the cache, made if it does not exist, or redis://host:port/db?prefix=name.
    """
    folder = find_data(directory)
    catalog = load_catalog(cache)
    with importing(cache, folder) as responses:
        report = import_recordings(read_tasks(folder), read_apis(folder), responses, catalog)
        save_catalog(catalog, cache)
    say_counts("APIs", report.apis)
    say_counts("Calls", report.calls)
    say_counts("Answers kept for their own task", report.own)
    return _written(responses.location, {"apis": report.apis, "calls": report.calls, "own": report.own})


def archive(file: Positional[Path], /, *, cache: CachePlace, on_conflict: OnConflict = "keep") -> Result:
    """Import a file of `toolserver export archive`.

    Example: `toolserver import archive recordings.jsonl.zst --cache data/cache`

    A damaged file is rejected before anything is imported, and leaves no cache.

    Args:
        file: The archive.
        cache: Directory of the cache, made if it does not exist, or redis://host:port/db?prefix=name.
        on_conflict: Policy for a call that has another answer already.
    """
    catalog = load_catalog(cache)
    with importing(cache, file) as responses:
        report = import_archive(file, responses, catalog, on_conflict=on_conflict)
        save_catalog(catalog, cache)
    say_counts("APIs", report.apis)
    say_counts("Calls", report.calls)
    return _written(responses.location, {"apis": report.apis, "calls": report.calls})


@contextmanager
def importing(cache: CachePlace, source: Path) -> Iterator[ResponseCache]:
    """Open a cache, and note in it that an import of `source` is at work, so that an interrupted one is noticed.

    A `DataError` before anything was imported removes the note, and the directory's files if it was new or empty.
    Raises as `ResponseCache` does.
    """
    name = str(source.absolute()).encode(errors="backslashreplace").decode()
    place = None if is_redis(cache) else Path(cache)
    made = [folder for folder in (place, *place.parents) if not folder.exists()] if place else []
    is_empty = place is not None and (bool(made) or (place.is_dir() and not any(place.iterdir())))
    is_rejected = False
    try:
        with ResponseCache(cache, memory_entries=0) as responses:
            entries, is_new = len(responses), begin_import(cache, name)
            try:
                yield responses
            except DataError:
                is_rejected = is_new and len(responses) == entries
                if is_rejected:
                    finish_import(cache, name)
                raise
            finish_import(cache, name)
    except DataError:
        if place and is_rejected and is_empty and _is_unused(cache):
            _remove(place, made)
        raise


def _is_unused(cache: CachePlace) -> bool:
    """Return True if no other process has begun to fill the cache."""
    return not unfinished_imports(cache) and not len(load_catalog(cache))


def _remove(place: Path, made: Sequence[Path]) -> None:
    """Remove the files of a cache, and the folders that were made for it, unless they hold something else."""
    for file in place.iterdir():
        file.unlink()
    with suppress(OSError):
        for folder in made:
            folder.rmdir()


def _written(place: str, counts: Mapping[str, Any], problems: Sequence[str] = ()) -> Result:
    """Say what was written and what comes next, and return the result."""
    say(f"Wrote {place}")
    say_next(place, "verify", "serve --read-only")
    return Result({"wrote": place, **counts, "problems": problems})
