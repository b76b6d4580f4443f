"""Reader and writer of records in Redis."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import redis

from toolserver.cache.redis_server import RedisServer
from toolserver.errors import CacheError

_PAGE = 1000  # records per HSCAN, so that one command does not block the server


class RedisReader:
    """Reads a store. Thread-safe, and usable after a fork."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._buckets = server.records
        self._hget = server.client.hget
        if not server.is_claimed():
            server.close()
            place = server.location
            raise CacheError(f"no cache at {place}; fill one with `toolserver import ... --cache '{place}'`")

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        try:
            value: bytes | None = self._hget(self._buckets[key[0]], key)
        except redis.RedisError as error:
            raise self._server.failure("read", error) from error
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over keys and values in the order of keys. Entries added meanwhile may be missing."""
        for number, bucket in enumerate(self._buckets):
            with self._server.failures("read"):
                found = dict(self._server.client.hscan_iter(bucket, count=_PAGE))
            yield from sorted(item for item in found.items() if _belongs(item[0], number))

    def keys(self) -> Iterator[bytes]:
        """Iterate over keys as `items` does, without reading the values."""
        for number in range(len(self._buckets)):
            yield from sorted(key for key in self._keys(number) if _belongs(key, number))

    def count(self) -> int:
        """Return the number of entries."""
        return sum(self._ask_all("HLEN"))

    def size(self) -> int:
        """Return Redis's estimate of the records' memory in bytes."""
        return sum(size or 0 for size in self._ask_all("MEMORY USAGE"))

    def others(self) -> int:
        """Return the number of fields that are not entries."""
        return sum(not _belongs(key, number) for number in range(len(self._buckets)) for key in self._keys(number))

    def problems(self) -> Iterator[str]:
        """Iterate over the errors of the store itself."""
        for number, bucket in enumerate(self._buckets):
            with self._server.failures("read"):
                expires = self._server.client.pttl(bucket)
            if expires >= 0:
                yield f"database: {bucket.decode()} expires in {expires} ms, with {len(self._keys(number))} entries"
        others = self.others()
        if others:
            yield f"database: {others} fields of another kind"

    def changes(self) -> Iterator[str]:
        """Yield nothing: Redis keeps no tally of the entries."""
        yield from ()

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _keys(self, number: int) -> list[bytes]:
        with self._server.failures("read"):
            keys: list[bytes] = self._server.client.hkeys(self._buckets[number])
        return keys

    def _ask_all(self, command: str) -> list[int]:
        """Return the reply to `command` for every bucket, in one round trip."""
        with self._server.failures("read"), self._server.client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.execute_command(command, bucket)
            replies: list[int] = pipeline.execute()
        return replies


def _belongs(key: bytes, number: int) -> bool:
    return key[:1] == bytes([number])


class _Write(NamedTuple):
    """One write of an open transaction."""

    command: Literal["HSETNX", "HSET"]
    value: bytes


class _Pending(threading.local):
    """Writes of the thread's open transaction by key; `None` without a transaction."""

    writes: dict[bytes, _Write] | None = None


class RedisWriter:
    """Writes a store. Several threads, processes and machines may write at once; the first value of a key is kept."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._buckets = server.records
        self._pending = _Pending()
        try:
            server.claim()
        except CacheError:
            server.close()
            raise

    def add(self, key: bytes, value: bytes) -> bool:
        """Store `value` unless `key` has one. Return whether it was stored (in a transaction: will be stored)."""
        writes = self._pending.writes
        if writes is None:
            with self._server.failures("write to"):
                return bool(self._server.client.hsetnx(self._buckets[key[0]], key, value))
        if self.get(key) is not None:
            return False
        writes[key] = _Write("HSETNX", value)
        return True

    def replace(self, key: bytes, value: bytes) -> None:
        """Store `value`, replacing an existing one."""
        writes = self._pending.writes
        if writes is None:
            with self._server.failures("write to"):
                self._server.client.hset(self._buckets[key[0]], key, value)
        else:
            writes[key] = _Write("HSET", value)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, including writes of the open transaction."""
        writes = self._pending.writes
        if writes is not None and key in writes:
            return writes[key].value
        with self._server.failures("read"):
            value: bytes | None = self._server.client.hget(self._buckets[key[0]], key)
        return value

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all writes in the context together (MULTI) or not at all. A nested transaction joins the outer one.

        The writes are sent at the end and block no other writer: a value that another writer adds before that is kept.
        """
        if self._pending.writes is not None:
            yield
            return
        writes = self._pending.writes = {}
        try:
            yield
            self._commit(writes)
        finally:
            self._pending.writes = None

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _commit(self, writes: dict[bytes, _Write]) -> None:
        with self._server.failures("write to"), self._server.client.pipeline(transaction=True) as pipeline:
            for key, (command, value) in writes.items():
                pipeline.execute_command(command, self._buckets[key[0]], key, value)
            pipeline.execute()
