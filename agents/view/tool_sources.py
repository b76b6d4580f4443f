"""Catalogues of tools that the page shows: worlds of ToolWorld, and a cache of recorded calls."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from steptool_env.errors import ConfigurationError
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import FILE
from toolserver.cache.record import CacheEntry
from toolserver.calls.naming import api_key
from toolserver.catalog.api_schema import ApiSpec, ToolCall, ToolResponse
from toolserver.episodes.state_token import opening_token
from toolserver.errors import DataError
from toolserver.service.factory import SIMULATED, Assembly, assemble
from toolserver.settings import Settings

LEVELS = ("lite", "standard", "full")
CACHE = "cache"
"""Name of the source of recorded calls; the others are the levels of ToolWorld."""
_RECORDINGS = 20  # of one API that a page shows


class Recording(NamedTuple):
    """One recorded call with its answer."""

    arguments: str
    entry: CacheEntry
    source: str
    recorded_at: str


class RecordingIndex:
    """Keys of the recordings in a place, by API. Each recording is read once, whatever cache reads the place."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: defaultdict[tuple[str, str, str], list[bytes]] = defaultdict(list)
        self._known: set[bytes] = set()
        self._seen: tuple[ResponseCache | None, int] = (None, 0)  # cache that was read last, and its entries then

    def keys(self, cache: ResponseCache, spec: ApiSpec) -> list[bytes]:
        """Return the keys of an API's recordings, after reading those that were made since."""
        with self._lock:
            seen = cache, len(cache)
            if seen != self._seen:
                self._read_others(cache)
                if len(self._known) > len(cache):  # another cache is in the place of that which was read
                    self._keys.clear()
                    self._known.clear()
                    self._read_others(cache)
                self._seen = seen
            return list(self._keys.get(spec.key, ()))

    def _read_others(self, cache: ResponseCache) -> None:
        for key, entry in cache.entries(damaged=[], known=self._known):
            call = entry.describe().call
            self._keys[api_key(call.category, call.tool, call.api)].append(key)
            self._known.add(key)


class ToolSource:
    """Tools of one catalog, answered in this process. Nothing is written or asked of others, and a miss is an error.

    Args:
        assembly: Service of the tools and its parts.
        count: Function that is called with each answer.
        index: Index of the recordings, of an earlier source of the same cache; by default a new one.
    """

    def __init__(
        self,
        assembly: Assembly,
        count: Callable[[ToolResponse], None] = lambda _: None,
        index: RecordingIndex | None = None,
    ) -> None:
        self._assembly, self._count = assembly, count
        self.index = index or RecordingIndex()

    @property
    def size(self) -> int:
        """Number of APIs."""
        return len(self._assembly.catalog)

    def search(self, words: str, start: int, limit: int) -> list[ApiSpec]:
        """Return a page of the APIs that match, the best first; all in their order without words."""
        return self._assembly.catalog.search(words, limit, start)

    def find(self, category: str, tool: str, api: str) -> ApiSpec:
        """Return an API. Raises `DataError` for an unknown one."""
        spec = self._assembly.catalog.get(category, tool, api)
        if spec is None:
            raise DataError(f"api={api!r}: {tool!r} of {category!r} is not in this catalog")
        return spec

    def call(self, spec: ApiSpec, arguments: str) -> ToolResponse:
        """Return the answer to a call that begins an episode."""
        service = self._assembly.local
        call = ToolCall(spec.category, spec.tool, spec.name, arguments, self._opening_token(spec))
        decoded = call if service.codec is None else service.codec.decode_call(call)
        answer = decoded if isinstance(decoded, ToolResponse) else service.call(decoded)
        self._count(answer)
        return answer

    def _opening_token(self, spec: ApiSpec) -> str:
        """Return the state of an episode that begins; of a simulated API that of the first task that has it."""
        if self._assembly.simulated is not None:
            tasks = SIMULATED[self._assembly.simulated].load_tasks().values()
            return opening_token(task=next(task.id for task in tasks if spec.tool in task.classes))
        return "" if self._assembly.vendors is None else opening_token()

    def recordings(self, spec: ApiSpec) -> tuple[list[Recording], int]:
        """Return some recorded calls of an API and the number of all."""
        cache = self._assembly.cache
        if cache is None:
            return [], 0
        keys = self.index.keys(cache, spec)
        found = []
        for key in keys[:_RECORDINGS]:
            entry = cache.get(key)
            if entry is not None:
                (_, _, _, arguments, *_), origin, recorded_at = entry.describe()
                text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
                found.append(Recording(text, entry, origin, recorded_at))
        return found, len(keys)

    def close(self) -> None:
        """Close the service and its cache. A page that still reads them opens a connection again."""
        self._assembly.service.close()


class Catalogues:
    """Catalogues that the pages of tools show: ToolWorld's levels with any seed, and a cache if there is one.

    Two worlds are kept at a time. The cache is opened when it is first shown, and again after its catalog has changed,
    with the index of its recordings; recordings that are made meanwhile are found without that.
    """

    has_seeds = True

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._lock = Lock()
        self._recorded: ToolSource | None = None
        self._opened: tuple[int, int] | None = None  # mark of the catalog's file that was read

    @property
    def names(self) -> Sequence[str]:
        """Names of the sources, that to begin with first."""
        return LEVELS if self._cache is None else (CACHE, *LEVELS)

    def source(self, name: str, world_seed: int) -> ToolSource:
        """Return the source `cache`, or ToolWorld of the level `name`.

        Raises:
            ConfigurationError: The name is unknown, or no cache was given.
            CacheError: The cache is damaged.
        """
        if name != CACHE:
            return _world(name, world_seed)
        if self._cache is None:
            raise ConfigurationError("source=cache: no cache was given; start the page with --cache DIR")
        with self._lock:
            mark = _mark(self._cache / FILE)
            earlier = self._recorded
            if earlier is None or mark not in (None, self._opened):
                settings = Settings(cache=self._cache, world=None, read_only=True, miss="strict")
                found = ToolSource(assemble(settings), index=earlier.index if earlier else None)
                self._recorded, self._opened = found, mark
                if earlier is not None:
                    earlier.close()
                return found
            return earlier


def _mark(file: Path) -> tuple[int, int] | None:
    """Return a mark of a file's content, which differs once it has changed; `None` without the file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=2)
def _world(name: str, world_seed: int) -> ToolSource:
    settings = Settings(cache=None, world=world_seed, world_level=name, miss="strict")
    return ToolSource(assemble(settings))
