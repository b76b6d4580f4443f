"""`toolserver stats`."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import load_catalog
from toolserver.commands.output import CachePlace, say_next
from toolserver.console import Result


def stats(*, cache: CachePlace) -> Result:
    """Count the entries of a cache by provenance, outcome and category.

    Example: `toolserver stats --cache data/cache --json`

    Args:
        cache: Directory of the cache, or redis://host:port/db?prefix=name.
    """
    counts, place = _count(cache)
    _show(counts)
    say_next(place, "verify", "export archive recordings.jsonl.zst")
    return Result(counts)


def _count(cache: CachePlace) -> tuple[dict[str, Any], str]:
    """Return the counts, and the place of the cache without a password."""
    provenance, outcome, category = Counter[str](), Counter[str](), Counter[str]()
    apis = set()
    with ResponseCache(cache, read_only=True, memory_entries=0) as responses:
        for _, entry in responses.entries():
            call = entry.describe().call
            provenance[entry.provenance.value] += 1
            outcome[entry.outcome.value] += 1
            category[call.category] += 1
            apis.add((call.category, call.tool, call.api))
        size = responses.stats()
    counts = {
        "entries": size.entries,
        "bytes": size.bytes,
        "apis_documented": len(load_catalog(cache)),
        "apis_recorded": len(apis),
        "provenance": dict(provenance.most_common()),
        "outcome": dict(outcome.most_common()),
        "category": dict(sorted(category.items())),
    }
    return counts, responses.location


def _show(counts: dict[str, Any]) -> None:
    table = Table("entries", "count", title=None)
    table.columns[1].justify = "right"
    for name, value in counts.items():
        if isinstance(value, dict):
            table.add_section()
            for part, count in value.items():
                table.add_row(f"{name} {part}", f"{count:,}")
        else:
            table.add_row(name.replace("_", " "), f"{value:,}")
    Console().print(table)
