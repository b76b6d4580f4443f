"""Sampling with fixed shapes and addresses, so that a GPU replays each decoding step as one CUDA graph.

A decoding step of a small model is a few hundred kernels of microseconds each, and launching them takes longer than
running them. A CUDA graph launches them together, but needs constant shapes and addresses: the cache has a fixed size,
numbers of rows and widths are rounded to powers of two, unused rows idle, and tokens and positions are written to the
same buffers. Prompts and observations, whose lengths vary, are fed without a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from agents.rollout.kv_cache import RaggedCache, StaticCache
from agents.rollout.sampler import TokenSampler


class StaticTokenSampler(TokenSampler):
    """`TokenSampler` with decoding steps of fixed shape, on CUDA devices as graphs. Draws the same tokens."""

    _longest_draft = 0

    def _make_cache(self) -> RaggedCache:
        """Return the one cache of this sampler: graphs hold its addresses."""
        if self._kept is None:
            self._kept = StaticCache(self._context)
            self._graphs: dict[tuple[int, int], _Step] = {}
            self._moves = 0
        return self._kept

    def _worth(self, count: int, span: int) -> bool:
        """Return true if `count` rows take a step of another shape than `span` rows."""
        return self._fed(count) != self._fed(span)

    def _fed(self, span: int) -> int:
        """Return the next power of two."""
        return 1 << (span - 1).bit_length()

    def _step(self, ids: Tensor, positions: Tensor, width: int, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cache = cast(StaticCache, self._cache)
        if cache.moves != self._moves:
            self._graphs, self._moves = {}, cache.moves
        key = (len(ids), cache.bucket(width))
        if key not in self._graphs:
            self._graphs[key] = self._make_step(*key)
        return self._graphs[key](ids, positions, uniforms)

    def _make_step(self, rows: int, width: int) -> _Step:
        def compute(step: _Step) -> tuple[Tensor, Tensor, Tensor]:
            return TokenSampler._step(self, step.ids, step.positions, width, step.uniforms)

        return _Step(compute, rows, self._policy.device)


class _Step:
    """Decoding step for `rows` rows.

    Attributes:
        ids: Tokens to feed (rows, 1).
        positions: Their positions in the episodes (rows, 1).
        uniforms: Random numbers of the draw (rows, 1).
    """

    def __init__(
        self, compute: Callable[[_Step], tuple[Tensor, Tensor, Tensor]], rows: int, device: torch.device
    ) -> None:
        self.uniforms = torch.zeros(rows, 1, dtype=torch.float64, device=device)
        self.ids, self.positions = (torch.zeros(rows, 1, dtype=torch.long, device=device) for _ in range(2))
        self._compute = compute
        self._graph: torch.cuda.CUDAGraph | None = None
        self._drawn: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, drawn: Tensor, positions: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feed `drawn` (n, 1) at `positions` (n, 1) and draw with `uniforms` (n, 1).

        Returns ids (n, 1), log-probabilities (n, 1) and hidden states (n, 1, h), valid until the next call.
        """
        for buffer, values in ((self.ids, drawn), (self.positions, positions), (self.uniforms, uniforms)):
            buffer.copy_(values)
        if self.uniforms.device.type != "cuda":
            return self._compute(self)
        if self._graph is None or self._drawn is None:
            self._graph, self._drawn = self._capture()
        self._graph.replay()
        return self._drawn

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor, Tensor]]:
        """Capture the step as a graph, after the warm-up runs that capturing requires."""
        side = torch.cuda.Stream(self.uniforms.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.uniforms.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                self._compute(self)
        torch.cuda.current_stream(self.uniforms.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            drawn = self._compute(self)
        return graph, drawn
