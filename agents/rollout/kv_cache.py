"""KV caches with rows of different lengths, for a decoder from Transformers, and the attention masks of such rows.

Notation: n rows of a block, q tokens per row, head size d.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agents.errors import ModelError

_GROWTH = 128  # tokens by which a cache grows
_LAYER_TYPES = ("full_attention", "sliding_attention")  # those that have a mask, by their names in Transformers


class RaggedCache:
    """Keys and values of every layer, in `rows` of different lengths. Grows on demand.

    Implements the part of Transformers' cache interface that a decoder uses when mask and positions are given.
    """

    is_compileable = False

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values (rows, heads, columns, d) of each layer
        self._rows: slice | Tensor = slice(0)
        self._positions = torch.empty(0, 0, dtype=torch.long)
        self._cells: Tensor | None = None
        self._capacity = 0
        self.width = self.rows = 0

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for `rows` rows, rounded up to a power of two, of `columns` tokens."""
        rows = max(self.rows, _power_of_two(rows)) if rows > self.rows else self.rows
        columns = max(self._capacity, _rounded(columns))
        if (rows, columns) != (self.rows, self._capacity):
            self.rows, self._capacity = rows, columns
            self._layers = [(_grown(k, rows, columns), _grown(v, rows, columns)) for k, v in self._layers]

    def place(self, rows: slice | Tensor, positions: Tensor, width: int) -> None:
        """Set the destination of the next block: its cache rows (n), and the columns of its tokens (n, q).

        The block sees `width` columns of its rows.
        """
        self._rows, self._positions, self._cells, self.width = rows, positions, None, width

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write keys and values (n, heads, q, d) of a block to its destination. Return those of its rows up to `width`.

        They are views where the block has consecutive rows, else copies.
        """
        heads, d = keys.shape[1], keys.shape[3]
        if layer == len(self._layers):
            shape = (self.rows, heads, self._capacity, d)
            self._layers.append((keys.new_zeros(shape), values.new_zeros(shape)))
        if self._cells is None:
            self._cells = self._cells_of(heads)
        stored_keys, stored_values = self._layers[layer]
        stored_keys.view(-1, d).index_copy_(0, self._cells, keys.reshape(-1, d))
        stored_values.view(-1, d).index_copy_(0, self._cells, values.reshape(-1, d))
        seen = stored_keys[:, :, : self.width], stored_values[:, :, : self.width]
        if isinstance(self._rows, slice):
            return seen[0][self._rows], seen[1][self._rows]
        return seen[0].index_select(0, self._rows), seen[1].index_select(0, self._rows)

    def get_seq_length(self, *_: Any) -> int:
        """Raise `ModelError`: the rows have no common length. Older decoders, e.g. OPT and Bloom, ask for it."""
        raise ModelError(
            "model: its decoder needs one length for all episodes of the KV cache, which differ; take a model whose "
            "decoder takes positions and masks, e.g. of Llama, Qwen, Gemma or Mistral"
        )

    def copy(self, sources: Sequence[int], targets: Sequence[int], columns: int) -> None:
        """Copy the first `columns` columns of the rows `sources` to the rows `targets`, all at once."""
        for tensor in (tensor for layer in self._layers for tensor in layer):
            tensor[targets, :, :columns] = tensor[sources, :, :columns]

    def _cells_of(self, heads: int) -> Tensor:
        """Return the places of a block in a layer with its first three dimensions joined, in the block's order."""
        device = self._positions.device
        rows = torch.arange(self.rows, device=device)[self._rows]
        first = (rows[:, None] * heads + torch.arange(heads, device=device)) * self._capacity
        return (first[:, :, None] + self._positions[:, None]).flatten()


class StaticCache(RaggedCache):
    """Cache of fixed size at fixed addresses, as CUDA graphs require.

    Every row has `context` columns. Tensors are reallocated (`moves` counts it) only when the number of rows grows.
    """

    def __init__(self, context: int) -> None:
        super().__init__()
        self._capacity = _rounded(context)
        self.moves = 0

    def reserve(self, rows: int, columns: int) -> None:
        """See `RaggedCache.reserve`."""
        self.moves += rows > self.rows
        super().reserve(rows, columns)

    def bucket(self, width: int) -> int:
        """Round a width up to 128, 256, 512, ... or the capacity."""
        return min(_power_of_two(max(width, _GROWTH)), self._capacity)


def cache_argument(decoder: nn.Module) -> str:
    """Return the name of the decoder's cache argument, which Transformers 5.24 changed."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"


def check_layer_types(config: Any) -> None:
    """Raise `ModelError` for a decoder with layers for which `layer_masks` has no mask."""
    unknown = sorted(set(getattr(config, "layer_types", None) or ()) - set(_LAYER_TYPES))
    if "local" in getattr(config, "attention_layers", ()):  # GPT-Neo, whose windows are no `layer_types`
        unknown.append("local")
    if unknown:
        raise ModelError(
            f"layer_types of the model has {', '.join(unknown)}; the sampler computes {' and '.join(_LAYER_TYPES)} "
            "only: take a model with these layers"
        )


def layer_masks(config: Any, positions: Tensor, width: int, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
    """Return the masks of a decoder's layers, as it takes them: by type where its configuration has `layer_types`.

    Args:
        config: Configuration of the decoder.
        positions: Positions of the block's tokens (n, q).
        width: Number of columns that the block sees.
        dtype: Dtype of the decoder's weights.
    """
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not kinds:  # the window, if there is one, is that of all layers
        return causal_mask(positions, width, dtype, window)
    windows = dict(zip(_LAYER_TYPES, (None, window), strict=True))
    return {kind: causal_mask(positions, width, dtype, windows[kind]) for kind in set(kinds)}


def causal_mask(positions: Tensor, width: int, dtype: torch.dtype, window: int | None = None) -> Tensor:
    """Return the additive mask (n, 1, q, width) of the columns after each position and of those before its window.

    It is additive because eager attention adds any mask to the scores. Its lowest value is finite: the window of an
    idle row can hold no column, and the softmax of -inf alone is NaN, which would stay in the cache.
    """
    columns, last = torch.arange(width, device=positions.device), positions[:, None, :, None]
    seen = columns <= last
    if window is not None:
        seen &= columns > last - window
    lowest = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=positions.device).masked_fill_(~seen, lowest)


def _power_of_two(number: int) -> int:
    """Round up to a power of two."""
    return 1 << (number - 1).bit_length()


def _rounded(width: int) -> int:
    return -(-width // _GROWTH) * _GROWTH


def _grown(tensor: Tensor, rows: int, columns: int) -> Tensor:
    old_rows, heads, old_columns, d = tensor.shape
    grown = tensor.new_zeros((rows, heads, columns, d))
    grown[:old_rows, :, :old_columns] = tensor
    return grown
