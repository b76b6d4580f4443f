"""Finished runs of the learning experiment, as arrays of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from agents.evaluation.bootstrap import Scores
from agents.evaluation.panels import GREEDY, key
from benchmarks.learning.aggregates import calls_to_reach

START = "start"
"""Name of the run that only evaluates the starting policy."""

PRIMARY_DECODING = GREEDY
"""Decoding of the primary measure: that of the policy in use, and of the start's best line."""
LEVELS = (0.15, 0.25, 0.5)
"""Pass rates of the primary measure: the environment calls until a run reaches them."""


def at_marks(curve: Sequence[Mapping[str, float]], name: str, marks: Sequence[int]) -> list[float]:
    """Return a metric of a run's evaluations at planned numbers of calls, each that of the first evaluation after it.

    An iteration that reaches several marks is followed by one evaluation, which is that of all of them.
    """
    return [next(record[name] for record in curve if record["calls"] >= mark) for mark in marks]


@dataclass(frozen=True)
class Experiment:
    """Finished runs: m evaluations of n seeds; the evaluation of the start is the first.

    Attributes:
        calls: Planned environment calls at the evaluations (m,).
        start: Result of the run of the start.
        runs: Results of the runs by arm, as written by `training_run`.
    """

    calls: Sequence[int]
    start: Mapping[str, Any]
    runs: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, arms: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Self:
        """Return the experiment of results that include the start."""
        (start,) = (result for result in results if result["arm"] == START)
        runs = {arm: [result for result in results if result["arm"] == arm] for arm in arms}
        calls, points = runs[arms[0]][0]["config"]["calls"], runs[arms[0]][0]["points"]
        return cls([round(calls * point / points) for point in range(points + 1)], start, runs)

    @property
    def horizon(self) -> int:
        """Environment calls of training."""
        return self.calls[-1]

    @property
    def curve_panel(self) -> str:
        """Name of the panel of the learning curves, that of the depth of training."""
        return str(self.start["curve_panels"][0]["name"])

    @property
    def end_panels(self) -> list[str]:
        """Names of the panels of the evaluation at the end."""
        return [panel["name"] for panel in self.start["end_panels"]]

    def curve(self, arm: str, decoding: str = PRIMARY_DECODING) -> Scores:
        """Return the pass rates of an arm's runs on the panel of the curves (m, n), see `at_marks`."""
        name = key(decoding, self.curve_panel, "pass_rate")
        first = self.start["curve"][0][name]
        return np.array([[first, *at_marks(run["curve"], name, self.calls[1:])] for run in self.runs[arm]]).T

    def reach(self, arm: str, level: float, decoding: str = PRIMARY_DECODING) -> Scores:
        """Return the environment calls until each run reaches a pass rate (n,); infinity for a run that does not."""
        return calls_to_reach(self.curve(arm, decoding), self.calls, level)

    def last(self, arm: str, panel: str, metric: str = "pass_rate", decoding: str = PRIMARY_DECODING) -> Scores:
        """Return a metric of an arm's runs, or of the start, at the end (n,); nan where it is not defined."""
        runs = [self.start] if arm == START else self.runs[arm]
        return np.array([run["last"].get(key(decoding, panel, metric), np.nan) for run in runs])
