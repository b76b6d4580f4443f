"""The space of texts that observations and actions are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space

_SAMPLE_LENGTH = 128
_ALPHABETS = (
    range(0x20, 0x7F),  # ASCII
    range(0xA1, 0x180),  # Latin
    range(0x391, 0x3CA),  # Greek
    range(0x4E00, 0x4F00),  # CJK
    range(0x1F600, 0x1F640),  # emoji, outside the basic plane
)


class UnicodeText(Space[str]):
    """Every text of at most `max_length` characters.

    `gymnasium.spaces.Text` lists its alphabet, so that JSON and any language but English fail
    `contains`, and looks at every character (220 us for 4,000). This space asks for type and length.

    Args:
        max_length: Largest number of characters, inclusive.
        seed: Seed of `sample`.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 0:
            raise ValueError(f"max_length={max_length}: must not be negative")
        self.max_length = int(max_length)
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: a text has no fixed-length array form."""
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """A text of up to 128 characters from several alphabets. Masks have no meaning here and are refused."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes no mask and no probability")
        length = int(self.np_random.integers(0, min(self.max_length, _SAMPLE_LENGTH) + 1))
        alphabet = _ALPHABETS[int(self.np_random.integers(len(_ALPHABETS)))]
        codes = self.np_random.integers(alphabet.start, alphabet.stop, size=length)
        return "".join(map(chr, codes))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a text that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))
