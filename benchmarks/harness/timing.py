"""Measuring side by side: rates of contestants that take turns, and how a cost grows with a size."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)
T = TypeVar("T")


class Lap(NamedTuple):
    """Some units of work (steps, calls, tokens) and the seconds that they took."""

    units: int
    seconds: float

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.seconds


class Pace(NamedTuple):
    """The laps of one contestant: units per second, and the microseconds of one unit in the median lap."""

    rate: float
    slowest: float
    fastest: float

    @classmethod
    def of(cls, laps: Sequence[Lap]) -> Pace:
        """The median, the slowest and the fastest of some laps."""
        rates = [lap.rate for lap in laps]
        return cls(median(rates), min(rates), max(rates))

    @property
    def microseconds(self) -> float:
        """What one unit takes, in the median lap."""
        return 1e6 / self.rate


def race(contestants: Mapping[Name, Callable[[], T]], rounds: int) -> dict[Name, list[T]]:
    """Let contestants run in turns, `rounds` times each after one that does not count. Returns what each run gave.

    They take turns so that a machine that grows slower, or is shared, slows all of them alike: ratios hold even where
    rates do not. Garbage is collected between laps, not in them.
    """
    laps: dict[Name, list[T]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            gc.collect()
            gc.disable()
            try:
                lap = run()
            finally:
                gc.enable()
            if turn:
                laps[name].append(lap)
    return laps


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent e of the best fit `cost = c * size**e` (least squares of the logarithms)."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
