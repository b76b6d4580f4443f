"""Rate limit per API key."""

import mmap
import time
from collections.abc import Callable
from pathlib import Path

BURST = 1.0
"""Seconds of the rate that may be used at once."""


class RateLimiter:
    """The generic cell rate algorithm: one number per key, the time until which its calls are charged.

    A call is admitted while that time is less than `BURST` seconds ahead. A batch is admitted like one call and then
    charged for all of its calls, so that the average stays below the rate. The workers of one server share the numbers
    in a file; two workers that write at the same instant may admit one call too many, never one too few.

    Args:
        rate: Calls per second and key.
        slots: Number of keys.
        path: The shared file; without one, the limit holds in this process only.
        clock: Returns seconds; the same clock in all workers.
    """

    def __init__(
        self, rate: float, slots: int, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cost = 1.0 / rate
        self._clock = clock
        self._memory = _shared_memory(path, 8 * slots)
        self._charged_until = memoryview(self._memory).cast("d")

    def take(self, slot: int) -> float:
        """Charge a key for one call. Returns 0 if it is admitted, else the seconds to wait."""
        now = self._clock()
        charged_until = max(self._charged_until[slot], now)
        if charged_until - now >= BURST:
            return charged_until - now - BURST + self._cost
        self._charged_until[slot] = charged_until + self._cost
        return 0.0

    def charge(self, slot: int, calls: int) -> None:
        """Charge a key for calls that are already admitted (the rest of a batch)."""
        self._charged_until[slot] = max(self._charged_until[slot], self._clock()) + calls * self._cost


def _shared_memory(path: Path | None, size: int) -> mmap.mmap:
    if path is None:
        return mmap.mmap(-1, size)
    with path.open("a+b") as file:
        file.truncate(size)  # the same size from every worker: new bytes are zero, old ones stay
        return mmap.mmap(file.fileno(), size)
