"""Records in Redis: the counterpart of `reader` and `writer`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import redis

from toolserver.cache.redis_server import RedisServer
from toolserver.errors import CacheError

_PAGE = 1000  # Records that one HSCAN asks for: one command must not hold up the server.


class RedisReader:
    """Reads a store. Safe for several threads, and across a fork."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._buckets = server.records
        self._hget = server.client.hget
        if not server.is_claimed():
            server.close()
            place = server.location
            raise CacheError(f"no cache at {place}; fill one with `toolserver import ... --cache '{place}'`")

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or `None`."""
        try:
            value: bytes | None = self._hget(self._buckets[key[0]], key)
        except redis.RedisError as error:
            raise self._server.failure("read", error) from error
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, in the order of keys; those added meanwhile may be missed."""
        for number, bucket in enumerate(self._buckets):
            with self._server.failures("read"):
                found = dict(self._server.client.hscan_iter(bucket, count=_PAGE))
            yield from sorted(item for item in found.items() if _belongs(item[0], number))

    def count(self) -> int:
        """Number of entries, without reading them."""
        return sum(self._ask_all("HLEN"))

    def size(self) -> int:
        """Bytes of memory that the records take, as Redis estimates it from samples."""
        return sum(size or 0 for size in self._ask_all("MEMORY USAGE"))

    def problems(self) -> Iterator[str]:
        """What is wrong with the database itself; nothing when it is sound."""
        others = 0
        for number, bucket in enumerate(self._buckets):
            with self._server.failures("read"):
                keys, expires = self._server.client.hkeys(bucket), self._server.client.pttl(bucket)
            others += sum(not _belongs(key, number) for key in keys)
            if expires >= 0:
                yield f"database: {bucket.decode()} expires in {expires} ms, with {len(keys)} entries"
        if others:
            yield f"database: {others} fields of another kind"

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _ask_all(self, command: str) -> list[int]:
        """The reply to `command` for every bucket, in one round trip."""
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
    """The writes of the thread's open transaction, by key; `None` while it has none."""

    writes: dict[bytes, _Write] | None = None


class RedisWriter:
    """Writes a store. Several threads, processes and machines may write at once; the first to add a key wins."""

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
        """Store `value` unless `key` has one; whether it was stored (in a transaction: whether it is about to be)."""
        writes = self._pending.writes
        if writes is None:
            with self._server.failures("write to"):
                return bool(self._server.client.hsetnx(self._buckets[key[0]], key, value))
        if self.get(key) is not None:
            return False
        writes[key] = _Write("HSETNX", value)
        return True

    def replace(self, key: bytes, value: bytes) -> None:
        """Store `value` in any case."""
        writes = self._pending.writes
        if writes is None:
            with self._server.failures("write to"):
                self._server.client.hset(self._buckets[key[0]], key, value)
        else:
            writes[key] = _Write("HSET", value)

    def get(self, key: bytes) -> bytes | None:
        """The value of `key` as this writer sees it, its open transaction included."""
        writes = self._pending.writes
        if writes is not None and key in writes:
            return writes[key].value
        with self._server.failures("read"):
            value: bytes | None = self._server.client.hget(self._buckets[key[0]], key)
        return value

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are stored together (MULTI) or not at all; one inside another joins it.

        They are sent at the end, and nobody waits meanwhile: what another writer adds before that stays.
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
