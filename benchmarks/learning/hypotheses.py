"""Hypotheses of the learning experiment, as stated in docs/learning.md, and their tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.learning.aggregates import Scores, difference, estimate, iqm
from benchmarks.learning.finished_runs import ALL, Experiment
from benchmarks.learning.training_run import DEPTHS

MARGIN = 0.05
"""Largest difference of pass rates that counts as about 0."""


class Hypothesis(NamedTuple):
    """Statement made before the runs (docs/learning.md), and its statistic.

    Attributes:
        words: Claim.
        predicted: Predicted difference: above 0, about 0 or not above 0.
        arms: Names of the compared arms.
        row: Index of the depth (or of their mean) at which at least one arm must have a pass rate above `MARGIN`; else
            the result is open.
        statistic: Function of these arms' final pass rates (d + 1, n).
    """

    words: str
    predicted: str
    arms: tuple[str, ...]
    row: int
    statistic: Callable[..., Scores]


def _at(row: int) -> Callable[..., Scores]:
    def statistic(scores: Scores, others: Scores, axis: int = -1) -> Scores:
        return difference(scores[row], others[row], axis)

    return statistic


def growth(scores: Scores, others: Scores, axis: int = -1) -> Scores:
    """Return the gap between two arms (d + 1, n) at the greatest depth minus the gap at the smallest."""
    gap = difference(scores, others, axis)
    return np.asarray(gap[_DEEPEST] - gap[_FIRST])


def _overall(scores: Scores, axis: int = -1) -> Scores:
    return iqm(scores[ALL], axis)


_FIRST, _DEEPEST = DEPTHS.index(1), DEPTHS.index(3)
_PAIR, _SUM = ("steptool", "final"), "final_dense_sum"
HYPOTHESES = (
    Hypothesis("the gap of steptool over final grows from depth 1 to 3", "> 0", _PAIR, _DEEPEST, growth),
    Hypothesis("the gap of steptool over final at depth 1", "about 0", _PAIR, _FIRST, _at(_FIRST)),
    Hypothesis("timing: steptool over final_dense_sum, depth 3", "> 0", ("steptool", _SUM), _DEEPEST, _at(_DEEPEST)),
    Hypothesis("information: final_dense_sum over final, depth 3", "> 0", (_SUM, "final"), _DEEPEST, _at(_DEEPEST)),
    Hypothesis("released over the start, all depths", "not > 0", ("released",), ALL, _overall),
)


class Finding(NamedTuple):
    """Difference of pass rates with its 95 % interval, and the highest pass rate of its arms and the start."""

    hypothesis: Hypothesis
    value: float
    low: float
    high: float
    best: float

    @property
    def outcome(self) -> str:
        """Return the `verdict`; open if no arm passes tasks."""
        if self.best <= MARGIN:
            return "open: no arm passes"
        return verdict(self.hypothesis.predicted, self.low, self.high)


def findings(experiment: Experiment) -> list[Finding]:
    """Return the result of each hypothesis whose arms were run."""
    found = []
    for hypothesis in HYPOTHESES:
        arms = hypothesis.arms
        if set(arms) <= set(experiment.runs):
            base = experiment.start[ALL] if len(arms) == 1 else 0.0
            parts = estimate(hypothesis.statistic, *map(experiment.last, arms))
            value, low, high = (float(part - base) for part in parts)
            rates = [float(iqm(experiment.last(arm)[hypothesis.row])) for arm in arms]
            best = max(*rates, float(experiment.start[hypothesis.row]))
            found.append(Finding(hypothesis, value, low, high, best))
    return found


def verdict(predicted: str, low: float, high: float) -> str:
    """Return `borne out`, `contradicted` or `open` for a prediction and an interval. nan gives `open`."""
    if predicted == "> 0":
        holds = low > 0
        fails = not holds and high <= MARGIN
    elif predicted == "about 0":
        holds = low >= -MARGIN and high <= MARGIN
        fails = not holds and (low > 0 or high < 0)
    else:
        holds = high <= MARGIN
        fails = not holds and low > 0
    return "borne out" if holds else "contradicted" if fails else "open"
