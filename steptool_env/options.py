"""Checks of the values of options, which come from users as Python or JSON."""

import inspect
from collections.abc import Callable
from functools import lru_cache, wraps
from math import isfinite
from numbers import Real
from typing import Any, TypeVar

from steptool_env.errors import ConfigurationError

_Made = TypeVar("_Made")


def is_number(value: Any, low: float, high: float | None = None) -> bool:
    """Return True for a finite number of at least `low` and, if given, at most `high`; False for any other value."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return isfinite(number) and low <= number and (high is None or number <= high)


def shared_by_options(maxsize: int) -> Callable[[Callable[..., _Made]], Callable[..., _Made]]:
    """Return a decorator: `lru_cache` of a function of options, of which True and 1 differ.

    The function raises `ConfigurationError`, which names the option, for a list or another value without a hash.
    """

    def decorate(make: Callable[..., _Made]) -> Callable[..., _Made]:
        signature, cached = inspect.signature(make), lru_cache(maxsize, typed=True)(make)

        @wraps(make)
        def shared(*arguments: Any, **options: Any) -> _Made:
            for name, value in signature.bind(*arguments, **options).arguments.items():
                try:
                    hash(value)
                except TypeError:
                    raise ConfigurationError(f"{name}={value!r:.60}: must be a text or a number") from None
            return cached(*arguments, **options)

        return shared

    return decorate
