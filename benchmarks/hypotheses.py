"""The hypotheses of the learning experiment, as docs/learning.md states them, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.aggregates import Scores, difference, estimate, iqm
from benchmarks.experiment import ALL, Experiment
from benchmarks.training_run import DEPTHS

MARGIN = 0.05
"""Differences of pass rates up to this are about 0."""


class Hypothesis(NamedTuple):
    """A statement that was written down before the runs (docs/learning.md), and how to measure it.

    Attributes:
        words: What is claimed.
        predicted: The claim about the measured difference: above 0, about 0 or not above 0.
        arms: Whose runs it takes.
        statistic: Of these arms' pass rates at the end (d + 1, n).
    """

    words: str
    predicted: str
    arms: tuple[str, ...]
    statistic: Callable[..., Scores]


def _at_depth(depth: int) -> Callable[..., Scores]:
    index = DEPTHS.index(depth)

    def statistic(scores: Scores, others: Scores, axis: int = -1) -> Scores:
        return difference(scores[index], others[index], axis)

    return statistic


def growth(scores: Scores, others: Scores, axis: int = -1) -> Scores:
    """How much larger the gap between two arms (d + 1, n) is at the greatest depth than at the smallest."""
    gap = difference(scores, others, axis)
    return np.asarray(gap[DEPTHS.index(3)] - gap[DEPTHS.index(1)])


def _overall(scores: Scores, axis: int = -1) -> Scores:
    return iqm(scores[ALL], axis)


HYPOTHESES = (
    Hypothesis("the gap of steptool over final grows from depth 1 to 3", "> 0", ("steptool", "final"), growth),
    Hypothesis("the gap of steptool over final at depth 1", "about 0", ("steptool", "final"), _at_depth(1)),
    Hypothesis("timing: steptool over final_dense_sum, depth 3", "> 0", ("steptool", "final_dense_sum"), _at_depth(3)),
    Hypothesis("information: final_dense_sum over final, depth 3", "> 0", ("final_dense_sum", "final"), _at_depth(3)),
    Hypothesis("released over the start, all depths", "not > 0", ("released",), _overall),
)


class Finding(NamedTuple):
    """What became of a hypothesis: the difference of pass rates, its 95 % interval, and the outcome in words."""

    hypothesis: Hypothesis
    value: float
    low: float
    high: float

    @property
    def outcome(self) -> str:
        """See `verdict`."""
        return verdict(self.hypothesis.predicted, self.low, self.high)


def findings(experiment: Experiment) -> list[Finding]:
    """What became of each hypothesis whose arms were run."""
    found = []
    for hypothesis in HYPOTHESES:
        arms = hypothesis.arms
        if set(arms) <= set(experiment.runs):
            base = experiment.start[ALL] if len(arms) == 1 else 0.0
            parts = estimate(hypothesis.statistic, *map(experiment.last, arms))
            found.append(Finding(hypothesis, *(float(part - base) for part in parts)))
    return found


def verdict(predicted: str, low: float, high: float) -> str:
    """Whether an interval bears a prediction out, contradicts it, or leaves it open. nan leaves it open."""
    if predicted == "> 0":
        holds, fails = low > 0, high <= 0
    elif predicted == "about 0":
        holds = low >= -MARGIN and high <= MARGIN
        fails = not holds and (low > 0 or high < 0)
    else:
        holds = high <= MARGIN
        fails = not holds and low > 0
    return "borne out" if holds else "contradicted" if fails else "open"
