"""Metrics of a set of episodes: pass rate, recall, precision, calls, and the pass rate under a call budget.

`docs/evaluation.md` has the definitions and their sources. Rates are in 0..1. Conventions of StableToolBench's and
StepTool's published tables (weights of sets, spread over judge repeats, `Finish` in the recall) are named `compat` or
stated here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isnan, nan, sqrt
from statistics import fmean, pstdev

from steptool_env.types import FINISH, Trajectory

_ANSWERED = '{"error": ""'
_NORMAL_95 = 1.959964  # quantile 0.975 of the standard normal distribution

LOW, HIGH = "_low", "_high"
"""Suffixes of the metrics that bound a rate's 95 % interval, e.g. `pass_rate_low`."""


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """Data of one episode for the metrics.

    Attributes:
        suite: Name of the set of tasks.
        passes: Verdict per repeat of the judge: 1 solved, 0.5 unsure, 0 unsolved. Shape: (repeats,).
        relevant: Functions that a good solution calls, without `Finish`; as often as the query names them.
        answered: Success of the first call of every called function, `Finish` included.
        calls: Number of steps, `Finish` included; of a search, those of all its paths.
        invalid_calls: Number of those steps that are not a call of an offered function with valid arguments.
        finished: True if the last step called `Finish`.
        episode_return: Sum of the final rewards.
        family: Group of similar tasks; empty without groups.
        silent: True if an action is empty: a policy in this process acts so where its context is full.
        needed_calls: Share of the calls of the reference solution that were made; nan for tasks without a reference
            solution, and for those whose reference solution makes no call.
    """

    suite: str
    passes: tuple[float, ...]
    relevant: tuple[str, ...]
    answered: Mapping[str, bool]
    calls: int
    invalid_calls: int
    finished: bool
    episode_return: float = nan
    family: str = ""
    silent: bool = False
    needed_calls: float = nan

    @property
    def passed(self) -> float:
        """Mean of `passes`."""
        return fmean(self.passes)


def result_of(trajectory: Trajectory) -> EpisodeResult:
    """Return the result of an episode, with the judge's verdict of `metadata["outcome"]`."""
    answered: dict[str, bool] = {}
    for step in trajectory.steps:
        good = step.body.startswith(_ANSWERED) or step.finished or step.ends_turn
        answered.setdefault(step.action.name, good)
    outcome = trajectory.metadata.get("outcome", {})
    return EpisodeResult(
        suite=trajectory.task.suite,
        passes=_passes(outcome),
        relevant=trajectory.task.relevant,
        answered=answered,
        calls=calls_of(trajectory),
        invalid_calls=trajectory.metadata.get("search_invalid_calls", sum(step.malformed for step in trajectory.steps)),
        finished=trajectory.finished,
        episode_return=sum(trajectory.rewards),
        family=trajectory.task.family,
        silent=any(step.malformed and not step.action.text for step in trajectory.steps),
        needed_calls=outcome.get("progress", nan) if trajectory.task.relevant else nan,  # 1 where none is needed
    )


def calls_of(trajectory: Trajectory) -> int:
    """Return the number of calls that an episode cost: its steps, or the calls of all paths of its search."""
    return int(trajectory.metadata.get("search_calls", len(trajectory.steps)))


def _passes(outcome: Mapping[str, float]) -> tuple[float, ...]:
    repeats = tuple(value for name, value in sorted(outcome.items()) if name.startswith("is_solved_"))
    return repeats or (outcome.get("is_solved", 0.0),)


def pass_rate(results: Sequence[EpisodeResult]) -> float:
    """Mean over the queries of the judge's mean verdict (StableToolBench's solvable pass rate, SoPR)."""
    return _mean(results, lambda result: result.passed)


def pass_rate_spread(results: Sequence[EpisodeResult]) -> float:
    """The published "±": standard deviation over the judge's repeats, per set, weighed by the sets' queries.

    It measures the disagreement of the judge with itself, not the variance between runs.
    """
    by_suite = sorted(results, key=lambda result: result.suite)
    sets = [list(group) for _, group in groupby(by_suite, key=lambda result: result.suite)]
    return sum(len(group) * _repeat_deviation(group) for group in sets) / len(results) if results else nan


def _repeat_deviation(results: Sequence[EpisodeResult]) -> float:
    repeats = min(len(result.passes) for result in results)
    return pstdev([fmean(result.passes[repeat] for result in results) for repeat in range(repeats)])


def pass_given_finish(results: Sequence[EpisodeResult]) -> float:
    """Pass rate of the episodes that ended by `Finish`; nan when none did."""
    return pass_rate([result for result in results if result.finished])


def pass_at_budget(results: Sequence[EpisodeResult], budget: int) -> float:
    """Pass rate of the episodes with at most `budget` calls, `Finish` included, among all episodes."""
    return _mean(results, lambda result: result.passed if result.calls <= budget else 0.0)


def recall(results: Sequence[EpisodeResult], *, compat: bool = False) -> float:
    """Share of the relevant functions whose first call succeeded.

    Share per query, then the mean over the queries with relevant functions. `compat` counts
    `Finish` among the relevant ones, as the published tables do.
    """
    extra = (FINISH,) if compat else ()
    named = [result for result in results if result.relevant]
    return _mean(named, lambda result: fmean(result.answered.get(name, False) for name in (*result.relevant, *extra)))


def precision(results: Sequence[EpisodeResult]) -> float:
    """Share of the called functions that are relevant.

    Share per query of the distinct called functions (without `Finish`), 0 without a call; then the mean over the
    queries with relevant functions.
    """
    return _mean([result for result in results if result.relevant], _precision)


def _precision(result: EpisodeResult) -> float:
    called = result.answered.keys() - {FINISH, ""}
    return len(called & set(result.relevant)) / len(called) if called else 0.0


def summarize(results: Sequence[EpisodeResult]) -> dict[str, float]:
    """Return all metrics of a set of episodes, with an interval of each rate. Undefined metrics are nan."""
    steps = sum(result.calls for result in results)
    finished = sum(result.finished for result in results)
    named = sum(bool(result.relevant) for result in results)
    needing = [result for result in results if not isnan(result.needed_calls)]
    invalid = sum(result.invalid_calls for result in results) / steps if steps else nan
    return {
        "episodes": len(results),
        **_with_interval("pass_rate", pass_rate(results), len(results)),
        "pass_rate_judge_std": pass_rate_spread(results),
        **_with_interval("pass_given_finish", pass_given_finish(results), finished),
        **_with_interval("finish_rate", _mean(results, lambda result: float(result.finished)), len(results)),
        **_with_interval("recall", recall(results), named),
        "recall_compat": recall(results, compat=True),
        **_with_interval("precision", precision(results), named),
        **_with_interval("needed_calls", _mean(needing, lambda result: result.needed_calls), len(needing)),
        "calls": _mean(results, lambda result: result.calls),
        **_with_interval("invalid_call_rate", invalid, len(results)),
        "return": _mean(results, lambda result: result.episode_return),
        "context_full_rate": _mean(results, lambda result: float(result.silent)),
        **family_metrics(results),
        **{f"pass_rate_{name}": pass_rate(chosen) for name, chosen in groups_of(results).items()},
    }


def wilson_interval(rate: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of Wilson (1927) for the mean `rate` of `count` independent values in 0..1.

    It is meant for values of 0 and 1. Values between vary less at the same mean, so for them it is too wide. It holds
    `rate`, stays within 0..1 and is nan for a count of 0.
    """
    if not count:
        return nan, nan
    squared = _NORMAL_95**2 / count
    centre, half = rate + squared / 2, sqrt(squared * (rate * (1 - rate) + squared / 4))
    return min(rate, (centre - half) / (1 + squared)), max(rate, (centre + half) / (1 + squared))  # but for rounding


def _with_interval(name: str, rate: float, count: int) -> dict[str, float]:
    low, high = wilson_interval(rate, count)
    return {name: rate, name + LOW: low, name + HIGH: high}


_GROUPS = {
    "I1": ("G1_instruction", "G1_category", "G1_tool"),
    "I2": ("G2_instruction", "G2_category"),
    "I3": ("G3_instruction",),
}
"""Groups of StableToolBench's sets in the published tables; a group's rate is the mean over its queries."""


def groups_of(results: Sequence[EpisodeResult]) -> dict[str, list[EpisodeResult]]:
    """Return the results by query set, then by StableToolBench's groups of sets; empty for fewer than two sets.

    The rate of a group, and of all, is the mean over its queries: its sets are weighed by their numbers of queries.
    """
    sets: dict[str, list[EpisodeResult]] = {}
    for result in results:
        sets.setdefault(result.suite, []).append(result)
    if len(sets) < 2:
        return {}
    grouped = {
        group: [result for name, chosen in sets.items() if name.rpartition("/")[2] in names for result in chosen]
        for group, names in _GROUPS.items()
    }
    return sets | {group: chosen for group, chosen in grouped.items() if chosen}


def family_metrics(results: Sequence[EpisodeResult]) -> dict[str, float]:
    """Return the metrics over families of tasks; none where no task has one.

    `pass_rate_families` is the mean over the families of their pass rates, `families` their number, `families_solved`
    the number of those with a solved task, and `families_solved_rate` their share.
    """
    families: dict[str, list[EpisodeResult]] = {}
    for result in results:
        if result.family:
            families.setdefault(result.family, []).append(result)
    if not families:
        return {}
    solved = sum(any(result.passed == 1 for result in each) for each in families.values())
    return {
        "pass_rate_families": fmean(map(pass_rate, families.values())),
        "families": len(families),
        "families_solved": solved,
        "families_solved_rate": solved / len(families),
    }


def _mean(results: Sequence[EpisodeResult], value: Callable[[EpisodeResult], float]) -> float:
    return fmean(map(value, results)) if results else nan


def usable(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    """Return the episodes without a transport error; the others say nothing about the agent."""
    return [trajectory for trajectory in trajectories if "transport_error" not in trajectory.metadata]
