"""Metrics of a ranking with binary relevance, in 0..1."""

from collections.abc import Collection, Sequence
from math import log2


def recall_at(k: int, ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return the share of the relevant documents among the first `k`; `relevant` is not empty."""
    wanted = set(relevant)
    return len(wanted.intersection(ranked[:k])) / len(wanted)


def ndcg_at(k: int, ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return the normalised discounted cumulative gain of the first `k`; `relevant` is not empty.

    Gains are 1 for relevant documents, discounted by `log2(rank + 1)` with ranks from 1; the ideal ranking has all
    relevant documents first, as in ToolBench's evaluator of its retriever.
    """
    wanted = set(relevant)
    gain = sum(1 / log2(rank + 1) for rank, name in enumerate(ranked[:k], 1) if name in wanted)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
    return gain / ideal
