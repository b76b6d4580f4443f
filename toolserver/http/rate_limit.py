"""How often a key may call."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from pathlib import Path

BURST = 1.0
"""Seconds' worth of calls that may come at once."""


class RateLimiter:
    """The generic cell rate algorithm: one number per key says until when its calls are paid for.

    A call is admitted while less than `BURST` seconds are paid ahead. A batch is admitted like one call and then pays
    for all of its calls, so over time nobody gets more than the rate. The numbers lie in a file that the workers of one
    server share; two workers that write at the same instant may admit one call too many, never one too few.

    Args:
        rate: Calls per second and key.
        slots: Number of keys.
        path: The shared file; without one, the limit holds in this process only.
        clock: Seconds, the same clock in all workers.
    """

    def __init__(
        self, rate: float, slots: int, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cost = 1.0 / rate
        self._clock = clock
        self._memory = _shared_memory(path, 8 * slots)
        self._paid_until = memoryview(self._memory).cast("d")

    def take(self, slot: int, calls: int = 1) -> float:
        """Pay for `calls` calls of a key. Returns 0 when admitted, else after how many seconds to come again."""
        now = self._clock()
        paid_until = max(self._paid_until[slot], now)
        if paid_until - now >= BURST:
            return paid_until - now - BURST + self._cost
        self._paid_until[slot] = paid_until + calls * self._cost
        return 0.0

    def charge(self, slot: int, calls: int) -> None:
        """Make a key pay for calls that are admitted already (the rest of a batch)."""
        self._paid_until[slot] = max(self._paid_until[slot], self._clock()) + calls * self._cost


def _shared_memory(path: Path | None, size: int) -> mmap.mmap:
    if path is None:
        return mmap.mmap(-1, size)
    with path.open("a+b") as file:
        file.truncate(size)  # the same size from every worker: new bytes are zero, old ones stay
        return mmap.mmap(file.fileno(), size)
