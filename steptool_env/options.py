"""Checks of the values of options, which come from users as Python or JSON."""

from math import isfinite
from numbers import Real
from typing import Any


def is_number(value: Any, low: float, high: float | None = None) -> bool:
    """Return True for a finite number of at least `low` and, if given, at most `high`; False for any other value."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    number = float(value)
    return isfinite(number) and low <= number and (high is None or number <= high)
