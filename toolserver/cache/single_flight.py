"""Concurrent computations of one key run once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs one computation per key at a time. Concurrent callers get its result or its exception."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[bytes, Future[Result]] = {}

    def run(self, key: bytes, compute: Callable[[], Result]) -> Result:
        """Return the result of `compute()`, or of the computation for `key` that another thread runs."""
        with self._lock:
            running = self._running.get(key)
            is_first = running is None
            if running is None:
                running = self._running[key] = Future()
        if is_first:
            self._compute(key, running, compute)
        return running.result()

    def _compute(self, key: bytes, running: Future[Result], compute: Callable[[], Result]) -> None:
        try:
            running.set_result(compute())
        except BaseException as error:
            running.set_exception(error)
        finally:
            with self._lock:
                del self._running[key]
