"""`toolserver verify`."""

from pathlib import Path

from toolserver.cache import ResponseCache, StoreProblem
from toolserver.cache.catalog_store import load_catalog, unfinished_imports
from toolserver.cache.database import fold_log
from toolserver.cache.redis_url import is_redis
from toolserver.commands.output import UNFINISHED, CachePlace, complain, say, say_next
from toolserver.console import Result


def verify(*, cache: CachePlace) -> Result:
    """Check a cache: the database, every entry against its hash and its key, that none is missing, and the catalog.

    Example: `toolserver verify --cache data/cache`

    Ends with status 1 after a problem, or if an import was interrupted. Also merges the log of a killed writer into
    the database.

    Args:
        cache: Directory of the cache, or redis://host:port/db?prefix=name.
    """
    with ResponseCache(cache, read_only=True, memory_entries=0) as responses:
        problems = list(responses.verify())
        entries = len(responses)
        place = responses.location
    if not is_redis(cache):
        fold_log(Path(cache))
    apis = len(load_catalog(cache))
    unfinished = [StoreProblem("", UNFINISHED.format(source)) for source in unfinished_imports(cache)]
    lines = [f"{problem.key or place}: {problem.reason}" for problem in problems + unfinished]
    for line in lines:
        complain(line)
    found = len(lines)
    say(f"{entries:,} entries, {apis:,} APIs: {f'{found:,} problems' if found else 'sound'}")
    if unfinished:
        say("Next: repeat the interrupted import")
    elif problems:
        say(f"Next: import the recordings into a new directory; {place} was not changed")
    else:
        say_next(place, "serve --read-only", "stats")
    return Result({"cache": place, "entries": entries, "apis": apis, "problems": lines}, 1 if found else 0)
