"""Statistics of a few training runs: the interquartile mean, bootstrap intervals, the probability of improvement.

After Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice". The runs of an arm
are one stratum, and arms are resampled separately. All scores of one run (at several depths or times) are resampled
together, because they come from one policy.

Notation: n runs of an arm on the last axis; the axes before it are different scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]
Statistic = Callable[..., Scores]
"""(arms (..., n), axis=-1) -> (...). Accepts further axes before the last, which hold resamples."""

_RESAMPLES = 10_000
_CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """Statistic and its 95 % interval; the interval is nan for fewer than two runs. Shape: (...) each."""

    value: Scores
    low: Scores
    high: Scores


def iqm(scores: Scores, axis: int = -1) -> Scores:
    """Return the interquartile mean, without the lowest and highest quarter (of 5 runs, the mean of the middle 3)."""
    return np.asarray(stats.trim_mean(scores, 0.25, axis=axis))


def improvement(scores: Scores, others: Scores, axis: int = -1) -> Scores:
    """Return the probability that a run of the first arm beats a run of the second; ties count half. Shapes: (..., n).

    Raises:
        ValueError: `axis` is not the last.
    """
    if axis != -1:
        raise ValueError("runs must be on the last axis")
    first, second = scores[..., :, None], others[..., None, :]
    return np.asarray(np.mean((first > second) + 0.5 * (first == second), axis=(-2, -1)))


def difference(scores: Scores, others: Scores, axis: int = -1) -> Scores:
    """Return the difference of the arms' interquartile means."""
    return iqm(scores, axis) - iqm(others, axis)


def estimate(statistic: Statistic, *arms: Scores, seed: int = 0) -> Estimate:
    """Return a statistic of arms with its percentile bootstrap interval.

    The scores of an arm have shape (..., n); all axes except the last are equal for all arms.
    """
    value = statistic(*arms, axis=-1)
    if min(arm.shape[-1] for arm in arms) < 2:
        unknown = np.full_like(value, np.nan)
        return Estimate(value, unknown, unknown)
    settings: dict[str, Any] = {"n_resamples": _RESAMPLES, "confidence_level": _CONFIDENCE, "method": "percentile"}
    found = stats.bootstrap(
        arms, statistic, axis=-1, paired=False, vectorized=True, rng=np.random.default_rng(seed), **settings
    )
    low, high = found.confidence_interval
    return Estimate(value, np.asarray(low), np.asarray(high))
