"""Bounded memory cache of a store."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Value with a size."""

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...


Value = TypeVar("Value", bound=Sized)


class MemoryCache(Generic[Value]):
    """Keeps recently used values, in two generations.

    A look-up promotes a value into the young generation. When that reaches half of the bound, it becomes the old
    generation and the former old one is dropped. Like a least-recently-used cache it keeps all recent values, but a hit
    is one dictionary look-up without a lock; concurrent threads at worst repeat a promotion.

    Args:
        entries: Maximum number of values; 0 keeps none.
        max_bytes: Maximum size of the values in bytes.
    """

    def __init__(self, entries: int, max_bytes: int) -> None:
        self._half_entries = entries // 2
        self._half_bytes = max_bytes // 2
        self._young: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}
        self._young_bytes = 0

    def get(self, key: bytes) -> Value | None:
        """Return the value of `key`, or `None`."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: Value) -> None:
        """Keep `value`, unless it exceeds the bound."""
        size = value.size
        if not self._half_entries or size > self._half_bytes:
            return
        if len(self._young) >= self._half_entries or self._young_bytes + size > self._half_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[key] = value
        self._young_bytes += size

    def drop(self, key: bytes) -> None:
        """Remove `key`."""
        self._old.pop(key, None)
        self._young.pop(key, None)

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
