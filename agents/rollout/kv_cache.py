"""Keys and values of episodes of different lengths, for a decoder from Transformers.

Notation: n rows of a block, q tokens of each, d the size of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_GROWTH = 128  # tokens by which a cache grows


class RaggedCache:
    """Keys and values of every layer; rows of different lengths. Grows as needed.

    It speaks the part of Transformers' cache interface that a decoder uses when mask and positions are given.

    Attributes:
        rows: Number of rows.
    """

    is_compileable = False

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values (rows, heads, columns, d) of each layer
        self._places = torch.empty(0, 0, dtype=torch.long)
        self._width = self._first = 0
        self._capacity = 0
        self.rows = 0

    def place(self, places: Tensor, width: int, first: int = 0) -> int:
        """Say where the next block goes: places (n, q). Returns the width that it will see, `width` at least.

        Args:
            places: Columns that its tokens are written to.
            width: Columns that it must see.
            first: The row of its first row.
        """
        self._places, self._width, self._first = places, width, first
        if width > self._capacity:
            self._capacity = _rounded(width)
            self._layers = [(_grown(k, self._capacity), _grown(v, self._capacity)) for k, v in self._layers]
        return width

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write a block (n, heads, q, d) at its place; return its n rows up to `width`."""
        if layer == len(self._layers):
            shape = (self.rows, keys.shape[1], self._columns, keys.shape[3])
            self._layers.append((keys.new_zeros(shape), values.new_zeros(shape)))
        rows = slice(self._first, self._first + len(keys))
        where = self._places[:, None, :, None].expand_as(keys)
        stored_keys, stored_values = (stored[rows] for stored in self._layers[layer])
        stored_keys.scatter_(2, where, keys)
        stored_values.scatter_(2, where, values)
        return stored_keys[:, :, : self._width], stored_values[:, :, : self._width]

    def arrange(self, rows: Sequence[int]) -> None:
        """Keep `rows`, in that order; a row may be kept twice."""
        self.rows = len(rows)
        if self._layers:
            index = torch.tensor(rows, device=self._layers[0][0].device)
            self._layers = [(k[index], v[index]) for k, v in self._layers]

    def swap(self, some: Tensor, others: Tensor) -> None:
        """Let some rows (m,) change places with others (m,)."""
        to, of = torch.cat([some, others]), torch.cat([others, some])
        for tensor in (tensor for layer in self._layers for tensor in layer):
            tensor[to] = tensor[of]

    @property
    def _columns(self) -> int:
        """Columns of a new layer."""
        return self._capacity


class StaticCache(RaggedCache):
    """The same at fixed addresses and of fixed size, as CUDA graphs need it.

    Every row has room for the longest episode, and one column more that nobody reads: what belongs to no episode is
    written there. Tensors are made anew only when more rows are asked for than ever before.

    Args:
        context: Longest episode in tokens.

    Attributes:
        rows: Number of rows, a power of two.
        moves: How often the addresses have changed.
    """

    def __init__(self, context: int) -> None:
        super().__init__()
        self._capacity = _rounded(context)
        self.moves = 0

    @property
    def nowhere(self) -> int:
        """The column that nobody reads."""
        return self._capacity

    def place(self, places: Tensor, width: int, first: int = 0) -> int:
        """Say where the next block goes. Returns the width that it will see, one of few."""
        return super().place(places, self.bucket(width), first)

    def bucket(self, width: int) -> int:
        """The next of few widths: 128, 256, 512, ... and the whole."""
        return min(_power_of_two(max(width, _GROWTH)), self._capacity)

    def arrange(self, rows: Sequence[int]) -> None:
        """Keep `rows`, in that order, where the rows are."""
        if len(rows) > self.rows:
            self.rows, self.moves = _power_of_two(len(rows)), self.moves + 1
            self._layers = [(_with_rows(k, self.rows), _with_rows(v, self.rows)) for k, v in self._layers]
        if self._layers:
            index = torch.tensor(rows, device=self._layers[0][0].device)
            for tensor in (tensor for layer in self._layers for tensor in layer):
                tensor[: len(rows)] = tensor[index]

    @property
    def _columns(self) -> int:
        return self._capacity + 1


def _power_of_two(number: int) -> int:
    """The least power of two that is not below `number`."""
    return 1 << (number - 1).bit_length()


def _rounded(width: int) -> int:
    return -(-width // _GROWTH) * _GROWTH


def _grown(tensor: Tensor, capacity: int) -> Tensor:
    n, heads, length, d = tensor.shape
    grown = tensor.new_zeros((n, heads, capacity, d))
    grown[:, :, :length] = tensor
    return grown


def _with_rows(tensor: Tensor, rows: int) -> Tensor:
    more = tensor.new_zeros((rows, *tensor.shape[1:]))
    more[: len(tensor)] = tensor
    return more
