"""What a store of records is, wherever it lies: a directory or a Redis server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from toolserver.cache.reader import Reader
from toolserver.cache.redis_url import is_redis
from toolserver.cache.writer import Writer


class StoreReader(Protocol):
    """Reads a store: `toolserver.cache.reader` says what each of these promises."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or `None`."""
        ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, in the order of keys."""
        ...

    def count(self) -> int:
        """Number of entries."""
        ...

    def size(self) -> int:
        """Bytes that the store takes."""
        ...

    def problems(self) -> Iterator[str]:
        """What is wrong with the store itself."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class StoreWriter(Protocol):
    """Writes a store: `toolserver.cache.writer` says what each of these promises."""

    def add(self, key: bytes, value: bytes) -> bool:
        """Store `value` unless `key` has one; whether it was stored."""
        ...

    def replace(self, key: bytes, value: bytes) -> None:
        """Store `value` in any case."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, the writes of an open transaction included."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside are stored together or not at all."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Store(NamedTuple):
    """An open store. `writing` is `None` when it is open for reading only; `location` may be shown to anybody."""

    location: str
    remote: bool
    reading: StoreReader
    writing: StoreWriter | None


def open_store(place: str | Path, read_only: bool) -> Store:
    """Open the store in a directory or at a `redis://` URL.

    Raises:
        CacheError: There is none to read, or it is of another version, damaged, not writable or out of reach.
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
