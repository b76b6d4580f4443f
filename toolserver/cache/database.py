"""The database of a cache: bytes by key on disk, in diskcache's table.

diskcache writes it (`writer`): atomic first-writer-wins inserts, retries between processes, a schema that is known to
last. Reading goes past it, to the same table (`reader`): diskcache writes on opening, so it cannot open a read-only
volume, and it would load pickles that a foreign database may hold. One read path then serves both modes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import diskcache

FORMAT = 1
"""Version of the database, kept in SQLite's `user_version`."""

DATABASE = diskcache.core.DBNAME
"""Name of its file in a cache directory."""


def run_statement(database: Path, statement: str) -> Any:
    """Run one statement on a connection of its own; the first value of its result."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        row = connection.execute(statement).fetchone()
    return row[0] if row else None


def fold_log(directory: Path) -> None:
    """Fold the write-ahead log into the database, which a read-only volume needs.

    Nothing is lost without it: where it cannot be done now, the next writer does it.
    """
    with suppress(sqlite3.Error):
        run_statement(directory / DATABASE, "PRAGMA wal_checkpoint(TRUNCATE)")
