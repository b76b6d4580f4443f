"""The bounded memory in front of a store."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What says how many bytes it holds."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...


Value = TypeVar("Value", bound=Sized)


class MemoryCache(Generic[Value]):
    """Keeps what was used recently, in two generations.

    A look-up promotes into the young generation; when that is half of the bound, it becomes the old one and
    the former old one is dropped. So everything used since the last turn is kept, as in a least-recently-used
    cache, but a hit is one dictionary look-up without a lock: several threads at worst repeat a promotion.

    Args:
        entries: How many values to keep at most; 0 keeps none.
        max_bytes: How many bytes to keep at most.
    """

    def __init__(self, entries: int, max_bytes: int) -> None:
        self._half_entries = entries // 2
        self._half_bytes = max_bytes // 2
        self._young: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}
        self._young_bytes = 0

    def get(self, key: bytes) -> Value | None:
        """The value kept for `key`, or `None`."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: Value) -> None:
        """Keep `value`, unless it alone is more than the bound."""
        size = value.size
        if not self._half_entries or size > self._half_bytes:
            return
        if len(self._young) >= self._half_entries or self._young_bytes + size > self._half_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[key] = value
        self._young_bytes += size

    def drop(self, key: bytes) -> None:
        """Forget `key`."""
        self._old.pop(key, None)
        self._young.pop(key, None)

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
