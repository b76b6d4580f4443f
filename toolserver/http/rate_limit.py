"""Rate limit per API key."""

import fcntl
import mmap
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

BURST = 1.0
"""Seconds of the rate that may be used at once."""

_SECOND = 10**9
_FOREVER = 2**62  # nanoseconds


class RateLimiter:
    """The generic cell rate algorithm: one number per key, the time until which its calls are charged.

    A call is admitted if it is charged within the next `BURST` seconds: of calls that come at once, as many as a second
    has, and at least one. A batch is admitted like one call and then charged for all of its calls, so that the average
    stays below the rate. The workers of one server share the numbers in a file, and lock it while they change them.

    Args:
        rate: Calls per second and key.
        slots: Number of keys.
        path: The shared file; without one, the limit holds in this process only.
        clock: Returns seconds; the same clock in all workers.
    """

    def __init__(
        self, rate: float, slots: int, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Whole nanoseconds: sums of rounded floats admit one call too many at a third of the rates.
        self._cost = max(1, int(_SECOND / rate))
        self._burst = int(BURST * _SECOND)
        self._clock = clock
        self._file: int | None = None
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            weakref.finalize(self, os.close, self._file)
        self._charged_until = memoryview(self._shared_memory(8 * slots)).cast("q")

    def take(self, slot: int) -> float:
        """Charge a key for one call. Returns 0 if it is admitted, else the seconds to wait."""
        return self._charge(slot, 1, max(0, self._burst - self._cost))

    def charge(self, slot: int, calls: int) -> float:
        """Charge a key for the rest of a batch whose first call was admitted. Returns as `take`.

        The batch is not admitted if others were charged since its first call and used up the rate.
        """
        return self._charge(slot, calls, max(self._burst, self._cost))

    def _charge(self, slot: int, calls: int, ahead: int) -> float:
        """Charge a key that is charged for at most `ahead` nanoseconds from now."""
        with self._locked():
            now = int(self._clock() * _SECOND)
            charged_until = max(self._charged_until[slot], now)
            if charged_until - now > ahead:
                return (charged_until - now - ahead) / _SECOND
            self._charged_until[slot] = min(charged_until + calls * self._cost, _FOREVER)
        return 0.0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)  # the system unlocks it when a worker is killed
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _shared_memory(self, size: int) -> mmap.mmap:
        if self._file is None:
            return mmap.mmap(-1, size)
        os.truncate(self._file, size)  # the same size from every worker: new bytes are zero, old ones stay
        return mmap.mmap(self._file, size)
