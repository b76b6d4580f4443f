"""Win rate (SoWR) of a run against another on the same tasks, by ToolEval's comparison."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import nan, sqrt
from statistics import fmean
from typing import Any

from steptool_env.errors import DataError
from steptool_env.judges.base import Judge, PairwiseJudge
from steptool_env.metrics import result_of, usable
from steptool_env.types import Trajectory

WIN, TIE, LOSS = 1.0, 0.5, 0.0


@dataclass(frozen=True)
class Comparison:
    """Comparison of two episodes of one task.

    Attributes:
        suite: Query set.
        task: Id of the task.
        score: 1 if the run is better, 0 if the other one is, 0.5 for a tie.
        votes: The same per repeat of the judge.
        asked: Number of repeats that the verdicts did not decide, so that the judge compared the answers.
        verdict: Pass score of the run.
        other_verdict: Pass score of the other run.
    """

    suite: str
    task: str
    score: float
    votes: tuple[float, ...]
    asked: int
    verdict: float
    other_verdict: float

    def record(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        return {**asdict(self), "votes": list(self.votes)}


def pairs_of(run: Sequence[Trajectory], against: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    """Return the episodes of the tasks that both runs have, in the order of `run`.

    Raises:
        DataError: The runs share no task, or one of them has two episodes of a task.
    """
    ours, others = _by_task("episodes", run), _by_task("against", against)
    pairs = [(episode, others[key]) for key, episode in ours.items() if key in others]
    if not pairs:
        raise DataError("against: the two runs share no task (query set and id), so nothing can be compared")
    return pairs


def _by_task(name: str, episodes: Sequence[Trajectory]) -> dict[tuple[str, str], Trajectory]:
    found: dict[tuple[str, str], Trajectory] = {}
    for episode in episodes:
        key = (episode.task.suite, episode.task.id)
        if key in found:
            raise DataError(
                f"{name}: has two episodes of task {episode.task.id!r:.80} of {episode.task.suite}, and one of each "
                "run is compared; leave the others out"
            )
        found[key] = episode
    return found


def compare_runs(
    run: Sequence[Trajectory],
    against: Sequence[Trajectory],
    judge: Judge | None,
    workers: int,
    on_comparison: Callable[[Comparison], None] = lambda _: None,
) -> list[Comparison]:
    """Compare the episodes of the tasks that both runs have, in the order of `run`.

    Args:
        run: Judged episodes.
        against: Judged episodes of the other run, by the same judge.
        judge: Judge that compares answers with equal verdicts; one that cannot, or `None`, leaves them tied.
        workers: Number of comparisons at a time.
        on_comparison: Called with each comparison in order.

    Raises:
        DataError: See `pairs_of`.
    """
    pairs = pairs_of(usable(run), usable(against))
    done = []
    with ThreadPoolExecutor(workers) as pool:
        for comparison in pool.map(lambda pair: compare(pair[0], pair[1], judge), pairs):
            done.append(comparison)
            on_comparison(comparison)
    return done


def compare(episode: Trajectory, other: Trajectory, judge: Judge | None) -> Comparison:
    """Compare two judged episodes of one task.

    In every repeat of the judge the better verdict wins (solved over unsure over unsolved). With equal verdicts the
    judge compares the two answers in both orders; where its choice depends on the order, the repeat is a tie. The run
    with more votes wins; of equally many, the one with the better mean verdict; else it is a tie.
    """
    one, two = result_of(episode), result_of(other)
    repeats = min(len(one.passes), len(two.passes))
    votes, asked = [], 0
    for repeat in range(repeats):
        mine, theirs = one.passes[repeat], two.passes[repeat]
        if mine != theirs:
            votes.append(WIN if mine > theirs else LOSS)
        elif isinstance(judge, PairwiseJudge):
            asked += 1
            votes.append(judge.better(episode.task, episode.steps, other.steps, repeat))
        else:
            votes.append(TIE)
    score = _decided(fmean(votes)) if fmean(votes) != TIE else _decided(TIE + one.passed - two.passed)
    return Comparison(episode.task.suite, episode.task.id, score, tuple(votes), asked, one.passed, two.passed)


def _decided(value: float) -> float:
    return WIN if value > TIE else LOSS if value < TIE else TIE


def win_metrics(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Return the win rate, tie rate and loss rate, over all tasks and per query set where there are several.

    `win_rate_se` is the standard error of `win_rate + tie_rate / 2` over tasks. Rates are in 0..1.
    """
    sets: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        sets.setdefault(comparison.suite, []).append(comparison)
    metrics = _rates(comparisons, "")
    for name, chosen in sets.items() if len(sets) > 1 else ():
        metrics |= _rates(chosen, f"_{name}")
    return metrics


def _rates(comparisons: Sequence[Comparison], suffix: str) -> dict[str, float]:
    scores = [comparison.score for comparison in comparisons]
    mean = fmean(scores) if scores else nan
    variance = fmean((score - mean) ** 2 for score in scores) if scores else nan
    rates = {name: fmean(score == kind for score in scores) for name, kind in _KINDS.items()}
    return {
        f"comparisons{suffix}": len(scores),
        **{f"{name}_rate{suffix}": rate for name, rate in rates.items()},
        f"win_rate_se{suffix}": sqrt(variance / len(scores)) if scores else nan,
    }


_KINDS = {"win": WIN, "tie": TIE, "loss": LOSS}
