"""Seeded random streams that give the same values on every Python and machine.

Every random choice of the world is drawn from a stream named by the seed and what is drawn, so that parts can be
made in any order, or not at all, without changing each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

T = TypeVar("T")


def digest(*parts: str | int) -> bytes:
    """16 bytes that depend on all parts and their order."""
    text = "\x1f".join(map(str, parts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def number(*parts: str | int) -> int:
    """A 64-bit number that depends on all parts and their order."""
    return int.from_bytes(digest(*parts)[:8], "big")


class SeededRandom:
    """A random stream named by `parts`.

    Only `Random.random()` is used: its sequence for an integer seed is the one thing that Python promises to keep.
    """

    __slots__ = ("_random",)

    def __init__(self, *parts: str | int) -> None:
        self._random = Random(number(*parts)).random

    def unit(self) -> float:
        """A number in [0, 1)."""
        return self._random()

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        return int(self._random() * bound)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[int(self._random() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` of the items (all when there are fewer), in random order."""
        return self.shuffled(items)[:count]
