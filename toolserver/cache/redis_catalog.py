"""A catalog's rows in Redis, beside the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from toolserver.cache.redis_url import connect


def read_rows(url: str) -> list[bytes]:
    """The documentation of every API, in the order of names; empty when none was saved there."""
    with closing(connect(url)) as server:
        server.is_claimed()
        with server.failures("read"):
            rows: dict[bytes, bytes] = server.client.hgetall(server.catalog)
    return [rows[key] for key in sorted(rows)]


def merge_rows(url: str, merge: Callable[[Iterable[bytes]], Mapping[bytes, bytes]]) -> None:
    """Write the rows that `merge` makes of those there; again, if another writer came between reading and writing."""
    with closing(connect(url)) as server:
        server.claim()

        def write(pipeline: Any) -> None:
            present: dict[bytes, bytes] = pipeline.hgetall(server.catalog)
            merged = merge(present[key] for key in sorted(present))
            changed = {key: row for key, row in merged.items() if present.get(key) != row}
            pipeline.multi()
            if changed:
                pipeline.hset(server.catalog, mapping=changed)

        with server.failures("write to"):
            server.client.transaction(write, server.catalog)
