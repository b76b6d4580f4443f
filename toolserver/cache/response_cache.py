"""Cache of recorded responses by canonical call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from toolserver.cache.memory import MemoryCache
from toolserver.cache.reader import Reader
from toolserver.cache.record import CacheEntry, check_record, decode_entry, encode_record
from toolserver.cache.redis_url import is_redis
from toolserver.cache.writer import Writer
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.errors import CacheError, ConflictError, DamagedEntryError

if TYPE_CHECKING:
    from toolserver.cache.redis_store import RedisReader, RedisWriter

OnConflict = Literal["keep", "replace", "error"]
"""Policy for a call that is recorded again with another answer."""


class PutResult(StrEnum):
    """Result of recording a call."""

    ADDED = "added"
    UNCHANGED = "unchanged"  # already recorded with the same answer
    KEPT = "kept"  # conflict: the first recording is kept
    REPLACED = "replaced"  # conflict: the new recording replaced it


class StoreProblem(NamedTuple):
    """Error found by `ResponseCache.verify`: the entry's key in hex (empty: the store itself) and the reason."""

    key: str
    reason: str


class CacheStats(NamedTuple):
    """Size of a cache.

    Attributes:
        entries: Number of entries in the store.
        bytes: Size of the database file, or Redis's estimate of the records' memory.
        in_memory: Number of entries in this process's memory.
    """

    entries: int
    bytes: int
    in_memory: int


class ResponseCache:
    """Recorded responses by canonical call (`toolserver.calls.call_key`). The store evicts no entries.

    Safe for several threads and processes: if two record the same call, the first recording is kept and both return it.
    Entries change only by `on_conflict="replace"`; other processes with the entry in memory see the change after
    reopening.

    Args:
        path: Directory of the cache, made if it does not exist, unless `read_only`; or a Redis server as
            `redis://user:password@host:port/db?prefix=name`, which needs the extra `redis`.
        read_only: Open for reading only; works on read-only volumes, for any number of processes.
        memory_entries: Maximum number of entries in memory; 0 keeps none.
        memory_bytes: Maximum size of the entries in memory in bytes.

    Attributes:
        damaged: Number of reads that were refused since opening, because the entry does not match its hash.
        location: The directory, or the server without user and password.
        remote: True if the store is on another machine, so that a look-up may block.

    Raises:
        CacheError: The cache is missing, of another version, damaged, not writable or out of reach.
        ConfigurationError: The URL is malformed, or the package `redis` is not installed.
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, memory_entries: int = 20_000, memory_bytes: int = 2**26
    ) -> None:
        self.read_only = read_only
        self.damaged = 0
        self.location, self.remote, self._reader, self._writer = _open(path, read_only)
        self._memory = MemoryCache(memory_entries, memory_bytes)
        self._running: dict[bytes, Future[ToolResponse]] = {}
        self._lock = Lock()

    def get(self, key: bytes) -> CacheEntry | None:
        """Return the recording of the call with that key (`canonical_key`), or `None`.

        Recordings of an open transaction are not visible. An entry is checked against its hash when it is read from
        the store; in memory it is not checked again.

        Raises:
            DamagedEntryError: The entry does not match its hash.
            CacheError: The store cannot be read.
        """
        entry = self._memory.get(key)
        if entry is None:
            value = self._reader.get(key)
            if value is None:
                return None
            entry = self._decode(key, value)
            self._memory.put(key, entry)
        return entry

    def get_from_memory(self, key: bytes) -> CacheEntry | None:
        """Return the recording of that call if it is in memory, without reading the store."""
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
            body: `{"error": ..., "response": ...}` as UTF-8 JSON; stored byte for byte.
            outcome: Outcome of the call.
            provenance: Source of the answer.
            source: File or server of origin.
            recorded_at: Time of the recording as text; never shown to a policy.
            on_conflict: Policy if the call has another answer already.

        Raises:
            DataError: The arguments are not an object of JSON data, or the body has the wrong form.
            ConflictError: The call has another answer and `on_conflict` is `error`.
            DamagedEntryError: The call has an answer already, which does not match its hash.
            CacheError: The cache is open for reading only, or cannot be written.
        """
        response = ToolResponse(body, outcome, provenance)
        key, value = encode_record(call, response, source, recorded_at)
        writer = self._writing()
        if writer.add(key, value):
            return PutResult.ADDED
        present = writer.get(key)
        if present is not None and self._decode(key, present).response == response:
            return PutResult.UNCHANGED
        if on_conflict == "keep":
            return PutResult.KEPT
        if on_conflict == "error":
            raise ConflictError(f"{call.api} of {call.tool} with {call.arguments} has another recorded answer")
        writer.replace(key, value)
        self._memory.drop(key)
        return PutResult.REPLACED

    def transaction(self) -> AbstractContextManager[None]:
        """Store all recordings in the context together or, after an exception or a kill, none of them."""
        return self._writing().transaction()

    def resolve_once(self, key: bytes, compute: Callable[[], ToolResponse]) -> ToolResponse:
        """Return the recorded answer, or that of `compute()`, which runs once for all concurrent threads.

        `compute` records its answer itself. All threads get its exception.
        """
        with self._lock:
            running = self._running.get(key)
            is_first = running is None
            if running is None:
                running = self._running[key] = Future()
        if is_first:
            try:
                entry = self.get(key)  # another thread may have recorded it
                running.set_result(compute() if entry is None else entry.response)
            except BaseException as error:
                running.set_exception(error)
            finally:
                with self._lock:
                    del self._running[key]
        return running.result()

    def entries(
        self, damaged: list[StoreProblem] | None = None, known: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, CacheEntry]]:
        """Iterate over keys and entries in the order of keys.

        Args:
            damaged: List that gets the entries that do not match their hash. Without it, the first one raises.
            known: Keys to leave out; their entries are not read.

        Raises:
            DamagedEntryError: An entry does not match its hash.
        """
        for key, value in self._others(known) if known else self._reader.items():
            try:
                entry = self._decode(key, value)
            except DamagedEntryError as error:
                if damaged is None:
                    raise
                damaged.append(StoreProblem(key.hex(), str(error)))
            else:
                yield key, entry

    def count_others(self) -> int:
        """Return the number of items in the store that are no entries: another program wrote them."""
        return self._reader.others()

    def verify(self) -> Iterator[StoreProblem]:
        """Check the store, the hash and key of every entry, and that none is missing. Iterate over the errors."""
        sound = True
        for problem in self._problems():
            sound = False
            yield problem
        if sound:  # otherwise the errors explain a change
            yield from (StoreProblem("", reason) for reason in self._reader.changes())

    def stats(self) -> CacheStats:
        """Return the size of the cache."""
        return CacheStats(len(self), self._reader.size(), len(self._memory))

    def close(self) -> None:
        """Close the cache. It cannot be used afterwards."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def __len__(self) -> int:
        return self._reader.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _others(self, known: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for key in self._reader.keys():  # noqa: SIM118 - no mapping
            if key not in known and (value := self._reader.get(key)) is not None:
                yield key, value

    def _problems(self) -> Iterator[StoreProblem]:
        for reason in self._reader.problems():
            yield StoreProblem("", reason)
        for key, value in self._reader.items():
            reason = check_record(key, value)
            if reason:
                yield StoreProblem(key.hex(), reason)

    def _decode(self, key: bytes, value: bytes) -> CacheEntry:
        try:
            return decode_entry(key, value)
        except DamagedEntryError:
            with self._lock:
                self.damaged += 1
            raise

    def _writing(self) -> Writer | RedisWriter:
        if self._writer is None:
            raise CacheError(f"the cache at {self.location} is open for reading only")
        return self._writer


def _open(place: str | Path, read_only: bool) -> tuple[str, bool, Reader | RedisReader, Writer | RedisWriter | None]:
    """Return location (without a password), `remote`, reader, and writer (`None` if `read_only`) of a store."""
    if not is_redis(place):
        directory = Path(place)
        writer = None if read_only else Writer(directory)
        return str(directory), False, Reader(directory), writer
    from toolserver.cache.redis_server import connect  # imports the optional package `redis`

    server = connect(place)
    from toolserver.cache.redis_store import RedisReader, RedisWriter  # after `connect`: it reports a missing package

    redis_writer = None if read_only else RedisWriter(server)
    return server.location, True, RedisReader(server), redis_writer
