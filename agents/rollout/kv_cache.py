"""KV caches with rows of different lengths, for a decoder from Transformers.

Notation: n rows of a block, q tokens per row, head size d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_GROWTH = 128  # tokens by which a cache grows


class RaggedCache:
    """Keys and values of every layer, in `rows` of different lengths. Grows on demand.

    Implements the part of Transformers' cache interface that a decoder uses when mask and positions are given.
    """

    is_compileable = False

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values (rows, heads, columns, d) of each layer
        self._places = torch.empty(0, 0, dtype=torch.long)
        self._width = self._first = 0
        self._capacity = 0
        self.rows = 0

    def place(self, places: Tensor, width: int, first: int = 0) -> int:
        """Set the destination of the next block. Return the number of columns that it sees, at least `width`.

        Args:
            places: Columns of its tokens (n, q).
            width: Minimum number of columns.
            first: Cache row of its first row.
        """
        self._places, self._width, self._first = places, width, first
        if width > self._capacity:
            self._capacity = _rounded(width)
            self._layers = [(_grown(k, self._capacity), _grown(v, self._capacity)) for k, v in self._layers]
        return width

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write a block (n, heads, q, d) to its destination. Return its n rows up to `width`."""
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
        """Keep `rows`, in that order; a row may be repeated."""
        self.rows = len(rows)
        if self._layers:
            index = torch.tensor(rows, device=self._layers[0][0].device)
            self._layers = [(k[index], v[index]) for k, v in self._layers]

    def swap(self, some: Tensor, others: Tensor) -> None:
        """Swap rows `some` (m,) with rows `others` (m,)."""
        to, of = torch.cat([some, others]), torch.cat([others, some])
        for tensor in (tensor for layer in self._layers for tensor in layer):
            tensor[to] = tensor[of]

    @property
    def _columns(self) -> int:
        """Number of columns of a new layer."""
        return self._capacity


class StaticCache(RaggedCache):
    """Cache of fixed size at fixed addresses, as CUDA graphs require.

    Every row has `context` columns and one unused column, which takes the writes of idle rows. Tensors are reallocated
    (`moves` counts it) only when the number of rows, a power of two, grows.
    """

    def __init__(self, context: int) -> None:
        super().__init__()
        self._capacity = _rounded(context)
        self.moves = 0

    @property
    def nowhere(self) -> int:
        """Index of the unused column."""
        return self._capacity

    def place(self, places: Tensor, width: int, first: int = 0) -> int:
        """See `RaggedCache.place`. The width is rounded up by `bucket`."""
        return super().place(places, self.bucket(width), first)

    def bucket(self, width: int) -> int:
        """Round a width up to 128, 256, 512, ... or the capacity."""
        return min(_power_of_two(max(width, _GROWTH)), self._capacity)

    def arrange(self, rows: Sequence[int]) -> None:
        """Keep `rows`, in that order, at the same addresses."""
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
    """Round up to a power of two."""
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
