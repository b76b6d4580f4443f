"""Concurrent requests for one missing thing do the work once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs one computation per key at a time; whoever asks meanwhile gets its result, or its exception."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._flights: dict[bytes, Future[Result]] = {}

    def run(self, key: bytes, compute: Callable[[], Result]) -> Result:
        """The result of `compute()`, or of the computation for `key` that another thread has under way."""
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if leads:
            self._lead(key, flight, compute)
        return flight.result()

    def _lead(self, key: bytes, flight: Future[Result], compute: Callable[[], Result]) -> None:
        try:
            flight.set_result(compute())
        except BaseException as error:
            flight.set_exception(error)
        finally:
            with self._lock:
                del self._flights[key]
