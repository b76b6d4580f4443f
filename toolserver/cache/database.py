"""Database of a cache: values by key on disk, in diskcache's table.

Writing uses diskcache (`writer`): atomic inserts that keep the first value, retries between processes, a stable schema.
Reading uses SQL on the same table (`reader`): diskcache writes on opening, so it cannot open a read-only volume, and it
loads pickles (CVE-2025-69872). One read path serves both modes.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import diskcache

FORMAT = 1
"""Version of the database, stored in SQLite's `user_version`."""

DATABASE = diskcache.core.DBNAME
"""Name of the database's file in a cache directory."""


def run_statement(database: Path, statement: str) -> Any:
    """Run one statement on a new connection. Return the first value of its result."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        row = connection.execute(statement).fetchone()
    return row[0] if row else None


def fold_log(directory: Path) -> None:
    """Merge the write-ahead log into the database, which a read-only volume needs.

    If this fails, no record is lost: the next writer merges the log.
    """
    with suppress(sqlite3.Error):
        run_statement(directory / DATABASE, "PRAGMA wal_checkpoint(TRUNCATE)")
