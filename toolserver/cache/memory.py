"""Bounded memory cache of a store."""

from toolserver.cache.record import CacheEntry


class MemoryCache:
    """Keeps recently used entries, in two generations.

    A look-up promotes an entry into the young generation. When that reaches half of the bound, it becomes the old
    generation and the former old one is dropped. Like a least-recently-used cache it keeps all recent ones, but a hit
    is one dictionary look-up without a lock; concurrent threads at worst repeat a promotion.

    Args:
        entries: Maximum number of entries; 0 keeps none.
        max_bytes: Maximum size of the entries in bytes.
    """

    def __init__(self, entries: int, max_bytes: int) -> None:
        self._half_entries = entries // 2
        self._half_bytes = max_bytes // 2
        self._young: dict[bytes, CacheEntry] = {}
        self._old: dict[bytes, CacheEntry] = {}
        self._young_bytes = 0

    def get(self, key: bytes) -> CacheEntry | None:
        """Return the entry of `key`, or `None`."""
        entry = self._young.get(key)
        if entry is None:
            entry = self._old.get(key)
            if entry is not None:
                self.put(key, entry)
        return entry

    def put(self, key: bytes, entry: CacheEntry) -> None:
        """Keep `entry`, unless it exceeds the bound."""
        size = entry.size
        if not self._half_entries or size > self._half_bytes:
            return
        if len(self._young) >= self._half_entries or self._young_bytes + size > self._half_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[key] = entry
        self._young_bytes += size

    def drop(self, key: bytes) -> None:
        """Remove `key`."""
        self._old.pop(key, None)
        self._young.pop(key, None)

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
