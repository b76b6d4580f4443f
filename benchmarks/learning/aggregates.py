"""Statistics of a few training runs: the interquartile mean, bootstrap intervals, the probability of improvement.

After Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice". The runs of an arm
are one stratum, and arms are resampled separately. All scores of one run (at several depths or times) are resampled
together, because they come from one policy.

Notation: n runs of an arm on the last axis; the axes before it are different scores.
"""

from collections.abc import Callable, Sequence
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


def calls_to_reach(rates: Scores, calls: Sequence[int], level: float) -> Scores:
    """Return the calls at which each curve first reaches a level, linear between evaluations.

    Args:
        rates: Scores at the evaluations (m, n).
        calls: Environment calls at the evaluations (m,).
        level: Score to reach.

    Returns:
        Calls (n,); infinity for a curve that does not reach the level, whose time is censored at the last evaluation.
    """
    found = np.full(rates.shape[1], np.inf)
    for run, curve in enumerate(rates.T):
        above = np.flatnonzero(curve >= level)
        if len(above):
            point = int(above[0])
            share = (level - curve[point - 1]) / (curve[point] - curve[point - 1]) if point else 0.0
            found[run] = calls[point] - (1 - share) * (calls[point] - calls[point - 1]) if point else calls[0]
    return found


def budget_left(times: Scores, horizon: float) -> Scores:
    """Return the share of the budget that is left when a level is reached, 0 for a censored run: (n,), in 0..1.

    Its mean is `1 - restricted mean time / horizon`. It ranks runs by their times, all censored ones equal.
    """
    return 1 - np.minimum(times, horizon) / horizon


def mean(scores: Scores, axis: int = -1) -> Scores:
    """Return the mean, for restricted times, whose censored runs an interquartile mean would drop."""
    return np.asarray(np.mean(scores, axis=axis))


def mean_difference(scores: Scores, others: Scores, axis: int = -1) -> Scores:
    """Return the difference of the arms' means."""
    return mean(scores, axis) - mean(others, axis)
