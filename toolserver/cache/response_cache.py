"""Canonical call -> recorded response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from toolserver.cache.memory import MemoryCache
from toolserver.cache.record import CacheEntry, Record, check_record, decode_entry, encode_record
from toolserver.cache.single_flight import SingleFlight
from toolserver.cache.store import StoreWriter, open_store
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.errors import CacheError, ConflictError

OnConflict = Literal["keep", "replace", "error"]
"""What to do when a call is recorded again with another answer."""


class PutResult(StrEnum):
    """What became of a recording."""

    ADDED = "added"
    UNCHANGED = "unchanged"  # recorded before, with the same answer
    KEPT = "kept"  # a conflict: the first recording stays
    REPLACED = "replaced"  # a conflict: the new recording took its place


class StoreProblem(NamedTuple):
    """One finding of `ResponseCache.verify`: the entry's key in hex (empty: the database itself) and the reason."""

    key: str
    reason: str


class CacheStats(NamedTuple):
    """How large a cache is.

    `bytes` is the size of the database file, or Redis's estimate of the memory that the records take; `in_memory`
    counts entries of this process.
    """

    entries: int
    bytes: int
    in_memory: int


class ResponseCache:
    """Recorded responses by canonical call (`toolserver.calls.call_key`). Nothing is ever evicted from the store.

    Safe for several threads and processes: of two first recordings of a call one wins, and everyone gets that one.
    Entries do not change once they are there, except by `on_conflict="replace"`, which other processes with the
    entry in memory notice only after reopening.

    Args:
        path: Directory of the cache, made if it does not exist, unless `read_only`; or a Redis server as
            `redis://user:password@host:port/db?prefix=name`, which needs the extra `redis`.
        read_only: Open for reading only. Works on read-only volumes, for any number of processes.
        memory_entries: Entries kept in memory at most; 0 keeps none.
        memory_bytes: Bytes of entries kept in memory at most.

    Attributes:
        location: The directory, or the server without user and password.
        remote: Whether the store is on another machine, so that looking into it may keep the caller waiting.

    Raises:
        CacheError: There is no cache to read, or it is of another version, damaged, not writable or out of reach.
        ConfigurationError: The URL is malformed, or the package `redis` is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        read_only: bool = False,
        memory_entries: int = 20_000,
        memory_bytes: int = 2**26,
    ) -> None:
        self.read_only = read_only
        self.location, self.remote, self._reader, self._writer = open_store(path, read_only)
        self._memory: MemoryCache[CacheEntry] = MemoryCache(memory_entries, memory_bytes)
        self._single_flight: SingleFlight[ToolResponse] = SingleFlight()

    def get(self, key: bytes) -> CacheEntry | None:
        """The recording of the call with that key (`canonical_key`), or `None`.

        Does not see the recordings of a transaction that is still open.
        """
        entry = self._memory.get(key)
        if entry is None:
            value = self._reader.get(key)
            if value is None:
                return None
            entry = decode_entry(value)
            self._memory.put(key, entry)
        return entry

    def get_from_memory(self, key: bytes) -> CacheEntry | None:
        """The recording of that call if it is in memory: like `get`, but it never waits for the store."""
        return self._memory.get(key)

    def put(
        self,
        call: ToolCall,
        body: bytes,
        outcome: Outcome = Outcome.OK,
        provenance: Provenance = Provenance.RECORDED,
        *,
        source: str = "",
        recorded_at: str = "",
        on_conflict: OnConflict = "keep",
    ) -> PutResult:
        """Record the answer to a call.

        Args:
            call: Names in any spelling and arguments as an object; a state token is ignored.
            body: `{"error": ..., "response": ...}` as UTF-8 JSON; kept byte for byte.
            outcome: The typed outcome.
            provenance: Where the answer comes from.
            source: Which file or server it was found in.
            recorded_at: When it was recorded, as text; never shown to a policy.
            on_conflict: What to do when the call has another answer already.

        Raises:
            DataError: The arguments or the body are not what they should be.
            ConflictError: The call has another answer and `on_conflict` is `error`.
            CacheError: The cache is open for reading only, or cannot be written.
        """
        response = ToolResponse(body, outcome, provenance)
        record = encode_record(call, response, source, recorded_at)
        writer = self._writing()
        if writer.add(record.key, record.value):
            return PutResult.ADDED
        present = writer.get(record.key)
        if present is not None and decode_entry(present).response == response:
            return PutResult.UNCHANGED
        if on_conflict == "keep":
            return PutResult.KEPT
        if on_conflict == "error":
            raise ConflictError(f"{call.api} of {call.tool} with {call.arguments} has another recorded answer")
        return self._replace(writer, record)

    def transaction(self) -> AbstractContextManager[None]:
        """Record many calls at once: all inside are stored together or, after an exception or a kill, not at all."""
        return self._writing().transaction()

    def resolve_once(self, key: bytes, compute: Callable[[], ToolResponse]) -> ToolResponse:
        """The recorded answer, or else that of `compute()`, which runs once however many threads ask.

        `compute` records its answer itself, if it should be recorded. What it raises, everyone gets.
        """

        def recorded_or_computed() -> ToolResponse:
            entry = self.get(key)  # it may have been recorded since the caller looked
            return compute() if entry is None else entry.response

        return self._single_flight.run(key, recorded_or_computed)

    def entries(self) -> Iterator[tuple[bytes, CacheEntry]]:
        """All keys and entries, in the order of keys: the same order for the same content."""
        for key, value in self._reader.items():
            yield key, decode_entry(value)

    def verify(self) -> Iterator[StoreProblem]:
        """Check the database and every entry against its hash and its key; yields what is wrong."""
        for reason in self._reader.problems():
            yield StoreProblem("", reason)
        for key, value in self._reader.items():
            reason = check_record(key, value)
            if reason:
                yield StoreProblem(key.hex(), reason)

    def stats(self) -> CacheStats:
        """How large the cache is."""
        return CacheStats(len(self), self._reader.size(), len(self._memory))

    def close(self) -> None:
        """Close the cache; it is not used afterwards."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def __len__(self) -> int:
        return self._reader.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _writing(self) -> StoreWriter:
        if self._writer is None:
            raise CacheError(f"the cache at {self.location} is open for reading only")
        return self._writer

    def _replace(self, writer: StoreWriter, record: Record) -> PutResult:
        writer.replace(record.key, record.value)
        self._memory.drop(record.key)
        return PutResult.REPLACED
