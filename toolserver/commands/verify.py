"""`toolserver verify`."""

from pathlib import Path

from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import load_catalog
from toolserver.cache.database import fold_log
from toolserver.cache.redis_url import is_redis
from toolserver.commands.output import CachePlace, complain, say, say_next


def verify(*, cache: CachePlace) -> int:
    """Check a cache: the database, every entry against its hash and its key, and the catalog.

    Example: `toolserver verify --cache data/cache`

    Ends with status 1 after a problem. Also merges the log of a killed writer into the database.

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
    for problem in problems:
        complain(f"{problem.key or place}: {problem.reason}")
    say(f"{entries:,} entries, {apis:,} APIs: {f'{len(problems):,} problems' if problems else 'sound'}")
    if problems:
        say(f"Next: import the recordings into a new directory; {place} was not changed")
    else:
        say_next(place, "serve --read-only", "stats")
    return 1 if problems else 0
