"""Random number generator with the same sequence on every Python and machine.

Every random choice of the world uses a generator seeded by the world's seed and the name of the choice, so the order in
which parts are made does not change them.
"""

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

T = TypeVar("T")


def digest(*parts: str | int) -> bytes:
    """Return 16 bytes that depend on all parts and their order."""
    text = "\x1f".join(map(str, parts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def number(*parts: str | int) -> int:
    """Return a 64-bit number that depends on all parts and their order."""
    return int.from_bytes(digest(*parts)[:8], "big")


class SeededRandom:
    """Random number generator, seeded by `parts`.

    It uses `Random.random()` alone: Python guarantees its sequence for an integer seed, and of no other method.
    """

    __slots__ = ("_random",)

    def __init__(self, *parts: str | int) -> None:
        self._random = Random(number(*parts)).random

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        return self._random()

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound)."""
        return int(self._random() * bound)

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self._random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """Return one of `items`."""
        return items[int(self._random() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return at most `count` of the items, in random order."""
        return self.shuffled(items)[:count]
