"""Space of texts for observations and actions, with shared memory between processes."""

import multiprocessing
from collections.abc import Sequence
from types import ModuleType
from typing import Any, overload

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Tuple
from gymnasium.spaces.utils import flatten, flatten_space, is_space_dtype_shape_equiv, unflatten
from gymnasium.vector.utils import (
    batch_differing_spaces,
    create_empty_array,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from gymnasium.wrappers.utils import create_zero_array

from steptool_env.errors import ConfigurationError

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

    `gymnasium.spaces.Text` has a fixed alphabet, so JSON and other languages fail `contains`, and it checks every
    character (220 us for 4,000). This space checks type and length.

    Args:
        max_length: Maximum number of characters, inclusive.
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
        """Return a text of up to 128 characters from several alphabets. Masks are not supported."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes no mask and no probability")
        length = int(self.np_random.integers(0, min(self.max_length, _SAMPLE_LENGTH) + 1))
        alphabet = _ALPHABETS[int(self.np_random.integers(len(_ALPHABETS)))]
        codes = self.np_random.integers(alphabet.start, alphabet.stop, size=length)
        return "".join(map(chr, codes))

    def contains(self, x: Any) -> bool:
        """Return True if `x` is a text of at most `max_length` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))


# A text has no array form of a fixed length, so that it is flattened as Gymnasium flattens a `Graph`: to itself.
# (Gymnasium's annotations of these functions name its own spaces only.)
_ANY: Any = UnicodeText
create_zero_array.register(_ANY, lambda space: "")  # noqa: ARG005
create_empty_array.register(_ANY, lambda space, n=1, fn=None: ("",) * n)  # noqa: ARG005
batch_differing_spaces.register(_ANY, lambda spaces: Tuple(spaces))
flatten_space.register(_ANY, lambda space: space)
flatten.register(_ANY, lambda space, x: x)  # noqa: ARG005
unflatten.register(_ANY, lambda space, x: x)  # noqa: ARG005
is_space_dtype_shape_equiv.register(_ANY, lambda space_1, space_2: space_1 == space_2)


# Gymnasium's `AsyncVectorEnv` keeps the observations of its processes in shared memory, by default. A text's slot holds
# its length in bytes, and then its bytes in UTF-8.
_LENGTH_BYTES = 4
_CHARACTER_BYTES = 4  # of UTF-8 at most


class SharedTexts(Sequence[str]):
    """View of the current texts in `num_envs` slots of shared memory.

    Gymnasium reads the buffer once and returns deep copies of the result: a copy is a tuple of the current texts.
    """

    def __init__(self, memory: Any, slot: int, num_envs: int) -> None:
        self._view = memoryview(memory.get_obj()).cast("B")
        self._slot = slot
        self._num_envs = num_envs

    def __len__(self) -> int:
        return self._num_envs

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(self._num_envs)))
        start = range(self._num_envs)[index] * self._slot
        body = start + _LENGTH_BYTES
        length = int.from_bytes(self._view[start:body], "little")
        return bytes(self._view[body : body + length]).decode("utf-8", "surrogatepass")

    def __deepcopy__(self, _memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


def _slot(space: UnicodeText) -> int:
    return _LENGTH_BYTES + _CHARACTER_BYTES * space.max_length


@create_shared_memory.register
def _create(space: UnicodeText, n: int = 1, ctx: ModuleType = multiprocessing) -> Any:
    return ctx.Array("B", n * _slot(space))


@read_from_shared_memory.register
def _read(space: UnicodeText, shared_memory: Any, n: int = 1) -> Any:  # a `Sequence`; Gymnasium's type wants a tuple
    return SharedTexts(shared_memory, _slot(space), n)


@write_to_shared_memory.register
def _write(space: UnicodeText, index: int, value: str, shared_memory: Any) -> None:
    if not space.contains(value):
        raise ConfigurationError(
            f"observation: {value!r:.40} is not a text of at most {space.max_length:,} characters, which fit in shared "
            "memory; lower max_observation_length, or give gym.make_vec vector_kwargs={'shared_memory': False}"
        )
    content = value.encode("utf-8", "surrogatepass")
    start = index * _slot(space)
    body = start + _LENGTH_BYTES
    view = memoryview(shared_memory.get_obj()).cast("B")
    view[body : body + len(content)] = content
    view[start:body] = len(content).to_bytes(_LENGTH_BYTES, "little")
