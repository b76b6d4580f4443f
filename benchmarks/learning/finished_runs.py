"""Finished runs of the learning experiment, as arrays of pass rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.learning.aggregates import Scores
from benchmarks.learning.training_run import DEPTHS, measured

START = "start"
"""Name of the run that only evaluates the starting policy."""

ALL = len(DEPTHS)
"""Index of the mean over the depths, after the depths."""

NAMES = (*(f"depth {depth}" for depth in DEPTHS), "all")
"""Names of the indices."""


@dataclass(frozen=True)
class Experiment:
    """Finished runs: m evaluations (the start is the first), d depths and their mean, n seeds.

    Attributes:
        scores: Pass rates by arm (m, d + 1, n).
        calls: Planned environment calls at the evaluations (m,).
        start: Pass rates of the starting policy (d + 1,).
        runs: Results of the runs by arm, as written by `training_run`.
    """

    scores: Mapping[str, Scores]
    calls: Sequence[int]
    start: Scores
    runs: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, arms: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Experiment:
        """Return the experiment of results that include the start."""
        (start,) = (rates_of(result["curve"][0]) for result in results if result["arm"] == START)
        runs = {arm: [result for result in results if result["arm"] == arm] for arm in arms}
        calls, points = runs[arms[0]][0]["config"]["calls"], runs[arms[0]][0]["points"]
        marks = [round(calls * point / points) for point in range(points + 1)]
        scores = {
            arm: np.stack([np.stack([start, *_at(result["curve"], marks[1:])]) for result in own], axis=-1)
            for arm, own in runs.items()
        }
        return cls(scores, marks, start, runs)

    def last(self, arm: str) -> Scores:
        """Return the final pass rates of an arm (d + 1, n)."""
        last: Scores = self.scores[arm][-1]
        return last


def rates_of(record: Mapping[str, float]) -> Scores:
    """Return the pass rates of an evaluation: at each depth, then their mean (d + 1,)."""
    rates = [measured(record, depth, "is_solved") for depth in DEPTHS]
    return np.array([*rates, fmean(rates)])


def _at(curve: Sequence[Mapping[str, float]], marks: Sequence[int]) -> list[Scores]:
    """Return the pass rates at the first evaluation after each mark."""
    return [rates_of(next(record for record in curve if record["calls"] >= mark)) for mark in marks]
