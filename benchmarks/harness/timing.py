"""Timing of contestants in turns, and growth of a cost with a size."""

import gc
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, Self, TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)
T = TypeVar("T")


class Lap(NamedTuple):
    """Number of units of work (steps, calls, tokens) and their seconds."""

    units: int
    seconds: float

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.seconds


class Pace(NamedTuple):
    """Rates of one contestant: units per second, and the microseconds of one unit in the median lap."""

    rate: float
    slowest: float
    fastest: float

    @classmethod
    def of(cls, laps: Sequence[Lap]) -> Self:
        """Return the median, slowest and fastest rate of laps."""
        rates = [lap.rate for lap in laps]
        return cls(median(rates), min(rates), max(rates))

    @property
    def microseconds(self) -> float:
        """Microseconds of one unit in the median lap."""
        return 1e6 / self.rate


def race(contestants: Mapping[Name, Callable[[], T]], rounds: int) -> dict[Name, list[T]]:
    """Run contestants in turns, `rounds` times each after a warm-up. Return the laps of each.

    Turns make ratios robust against a machine whose speed changes. Garbage of the laps is collected between them.
    """
    laps: dict[Name, list[T]] = {name: [] for name in contestants}
    had_frozen = gc.get_freeze_count()
    gc.collect()
    gc.freeze()  # later collections do not visit what was there before
    try:
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
    finally:
        if not had_frozen:
            gc.unfreeze()
    return laps


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent e of the best fit `cost = c * size**e` (least squares of the logarithms)."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
