"""Interfaces of a store of records, in a directory or in Redis, and the function that opens one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from toolserver.cache.reader import Reader
from toolserver.cache.redis_url import is_redis
from toolserver.cache.writer import Writer


class StoreReader(Protocol):
    """Reads a store; see `toolserver.cache.reader`."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over keys and values in the order of keys."""

    def count(self) -> int:
        """Return the number of entries."""

    def size(self) -> int:
        """Return the size of the store in bytes."""

    def problems(self) -> Iterator[str]:
        """Iterate over the errors of the store itself."""

    def close(self) -> None:
        """Release the resources."""


class StoreWriter(Protocol):
    """Writes a store; see `toolserver.cache.writer`."""

    def add(self, key: bytes, value: bytes) -> bool:
        """Store `value` unless `key` has one. Return whether it was stored."""

    def replace(self, key: bytes, value: bytes) -> None:
        """Store `value`, replacing an existing one."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, including writes of the open transaction."""

    def transaction(self) -> AbstractContextManager[None]:
        """Store all writes in the context together or not at all."""

    def close(self) -> None:
        """Release the resources."""


class Store(NamedTuple):
    """Open store. `writing` is `None` when it is read-only; `location` contains no password."""

    location: str
    remote: bool
    reading: StoreReader
    writing: StoreWriter | None


def open_store(place: str | Path, read_only: bool) -> Store:
    """Open the store in a directory or at a `redis://` URL.

    Raises:
        CacheError: The store is missing, of another version, damaged, not writable or out of reach.
        ConfigurationError: The URL is malformed, or the package `redis` is not installed.
    """
    if is_redis(place):
        return _open_redis(place, read_only)
    directory = Path(place)
    writer = None if read_only else Writer(directory)
    return Store(str(directory), False, Reader(directory), writer)


def _open_redis(url: str, read_only: bool) -> Store:
    from toolserver.cache.redis_server import connect  # imports the optional package `redis`

    server = connect(url)
    from toolserver.cache.redis_store import (  # after `connect`, which reports a missing package
        RedisReader,
        RedisWriter,
    )

    writer = None if read_only else RedisWriter(server)
    return Store(server.location, True, RedisReader(server), writer)
