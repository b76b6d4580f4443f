"""Agreement of rule-based judges, ours and the authors', with StepTool's published annotations and judgements.

    python -m benchmarks.stabletoolbench.judge_agreement --data stabletoolbench --out benchmarks/results

Four tables: agreement of step rewards with the annotated ones; rate of contributions for used and for unrelated
responses; agreement of verdicts on the answer with the published ones; and the share of equal verdicts, of the rules
with one repeat of the published judge and of the published judge with itself, which reports print.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Annotated as Typed
from typing import Any, NamedTuple, Self

import numpy as np
import tyro
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result
from benchmarks.stabletoolbench import authors_rules
from benchmarks.stabletoolbench.annotations import Annotated, read_annotations, read_training_rows
from steptool_env.errors import DataError
from steptool_env.judges.answer import admitted_failure, final_answer
from steptool_env.judges.dataflow import Use, contributions
from steptool_env.judges.rules import UNSURE, RulesJudge
from steptool_env.judges.success import response_text
from steptool_env.metrics import result_of
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.types import Step, Task, Trajectory

TUNED_ON = "G1_instruction"
"""The set whose judgements were used to write the rules; the others were not."""

SAME = "Same verdicts, pair by pair"
RULES, ITSELF = "our rules and the published judge", "published judge and itself"
HELD_OUT = "held-out sets"

DATA_VARIABLE = "STEPTOOL_STABLETOOLBENCH"
NOTES = (
    "mean_difference: mean absolute difference of scores in 0..1.",
    "The weights of the data flow were tried on the same 71 annotated calls; between the 60 settings tried, the mean "
    "difference moved from 0.197 to 0.232 and Pearson's correlation from 0.66 to 0.70.",
    f"The rules of the verdict were written on {TUNED_ON} and only scored on the other sets; the phrases by which a "
    "body tells of a failure were collected over all sets.",
    "The published judge passes answers that use nothing a tool said; our rules call them unsure. The row `invention "
    "passes` shows what that costs in agreement.",
)

_SHIFT = 37  # distance in episodes between a response and the unrelated answer
_PAIRS = 400
_FIRES = 0.5


class Agreement(NamedTuple):
    """Agreement of two vectors of scores in 0..1. A correlation with a constant is `None`."""

    items: int
    mean_difference: float
    pearson: float | None
    spearman: float | None

    @classmethod
    def of(cls, ours: Sequence[float], published: Sequence[float]) -> Self:
        """Mean absolute difference and correlations."""
        a, b = np.array(ours), np.array(published)
        return cls(len(ours), float(np.abs(a - b).mean()), _correlation(a, b), _correlation(rankdata(a), rankdata(b)))


@dataclass(frozen=True)
class Options:
    """Measure the agreement of rule-based judges with published annotations and judgements.

    Example: python -m benchmarks.stabletoolbench.judge_agreement --data data/stabletoolbench --out benchmarks/results
    """

    data: Typed[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with steptool_examples/ and judged_runs/; by default STEPTOOL_STABLETOOLBENCH."""


def run(arguments: Options) -> Result:
    """Measure the agreement."""
    data = _data(arguments.data)
    examples = data / "steptool_examples"
    runs = [episode for folder in _folders(data / "judged_runs") for episode in read_recordings(folder)]
    tables = {
        "Rewards of tool calls against StepTool's annotations": step_rewards(
            read_training_rows(examples), read_annotations(examples)
        ),
        "How often a contribution is found": contribution_fires([e for e in runs if e.task.suite == TUNED_ON]),
        "Verdicts on answers against the published ones": verdicts(runs),
        SAME: same_verdicts(runs, _evaluated(data)),
    }
    rows = {title: [{"judge": name, **row} for name, row in table.items()] for title, table in tables.items()}
    return Result("judge_agreement", "Agreement of rules with published judgements", rows, NOTES)


def _evaluated(data: Path) -> list[Trajectory]:
    """Return the episodes of StableToolBench's example of judged answers, which are of other models, if it is there."""
    folder = data / "toolbench_answer_examples" / "pass_rate_results"
    return read_recordings(folder) if folder.is_dir() else []


def _data(given: Path | None) -> Path:
    path = given or os.environ.get(DATA_VARIABLE)
    if not path:
        raise DataError(f"--data: give the folder of the published data, or set {DATA_VARIABLE}")
    return Path(path)


Figures = dict[str, dict[str, Any]]
"""Table: rows by name, cells by column."""

Judge = Callable[[Annotated], list[float]]
"""Rewards of the tool calls of an episode, without the last step."""


def step_rewards(rows: Sequence[Annotated], annotations: Sequence[Annotated]) -> Figures:
    """Return the agreement of judges and single annotators with the annotated rewards of tool calls."""
    published = [reward for row in rows for reward in row.rewards[:-1]]
    judges: dict[str, Judge] = {
        "our rules": _our_rewards,
        "our rules, success alone": _our_successes,
        "authors' rules (contribution 0 or 1)": lambda episode: _authors_rewards(episode, 1.0),
        "authors' rules (contribution 0 or 1/5)": lambda episode: _authors_rewards(episode, 0.2),
        "always the annotators' mean": lambda episode: [fmean(published)] * (len(episode.steps) - 1),
    }
    table = {
        name: Agreement.of([reward for row in rows for reward in judge(row)], published)._asdict()
        for name, judge in judges.items()
    }
    repeats = [pair for row in annotations for a, b in combinations(row.repeats, 2) for pair in zip(a, b, strict=True)]
    first, second = zip(*repeats, strict=True)
    return table | {"annotators, one repeat against another": Agreement.of(first, second)._asdict()}


def contribution_fires(episodes: Sequence[Trajectory]) -> Figures:
    """Return the rates of contributions of at least one half.

    For a response with the answer of its own episode, and with the answer to another query: only the first should have
    a contribution.
    """
    answered = [episode for episode in episodes if final_answer(episode.steps)]
    pairs = list(_pairs(answered))[:_PAIRS]
    ours = [[_our_contribution(pair.query, pair.step, answer) for answer in pair.answers] for pair in pairs]
    theirs = [[authors_rules.contribution(pair.step.body, answer) for answer in pair.answers] for pair in pairs]
    return {name: _fire_rates(scores) for name, scores in (("our rules", ours), ("authors' rules", theirs))}


class _Pair(NamedTuple):
    query: str
    step: Step
    answers: tuple[str, str]  # of its own episode, of another one


def _pairs(episodes: Sequence[Trajectory]) -> list[_Pair]:
    judge, pairs = RulesJudge(), []
    for index, episode in enumerate(episodes):
        other = episodes[(index + _SHIFT) % len(episodes)]
        answers = final_answer(episode.steps), final_answer(other.steps)
        good = [step for step in episode.steps[:-1] if judge.call_succeeded(episode.task, step)]
        pairs += [_Pair(episode.task.query, step, answers) for step in good if other.task.query != episode.task.query]
    return pairs


def _fire_rates(scores: Sequence[Sequence[float]]) -> dict[str, float]:
    own, other = (fmean(float(score[column] >= _FIRES) for score in scores) for column in (0, 1))
    return {"pairs": len(scores), "own_answer": own, "unrelated_answer": other}


def verdicts(episodes: Sequence[Trajectory]) -> Figures:
    """Return the agreement of verdicts with the published ones, on the set used for the rules and on the rest."""
    judge = RulesJudge()
    judges: dict[str, Callable[[Trajectory], float]] = {
        "our rules": lambda episode: judge.judge(episode.task, episode.steps).solved,
        "our rules, invention passes": lambda episode: _invention_passes(judge, episode),
        "every answer is solved": lambda episode: float(bool(final_answer(episode.steps))),
    }
    table = {}
    for where, chosen in (
        (TUNED_ON, [e for e in episodes if e.task.suite == TUNED_ON]),
        (HELD_OUT, [e for e in episodes if e.task.suite != TUNED_ON]),
    ):
        published = [result_of(episode).passed for episode in chosen]
        for name, verdict in judges.items():
            table[f"{name}, {where}"] = Agreement.of([verdict(episode) for episode in chosen], published)._asdict()
        passes = [result_of(episode).passes for episode in chosen]
        repeats = [(p[i], p[j]) for p in passes for i, j in combinations(range(len(p)), 2)]
        first, second = zip(*repeats, strict=True)
        table[f"published judge, one repeat against another, {where}"] = Agreement.of(first, second)._asdict()
    return table


def same_verdicts(episodes: Sequence[Trajectory], of_other_models: Sequence[Trajectory]) -> Figures:
    """Return the share of equal verdicts and Cohen's kappa, on the set used for the rules and on the rest.

    Episodes of other models are held out, whatever their set: the rules were not written on their judgements.

    A pair is our verdict and that of one repeat of the published judge, or those of two repeats: both rows compare with
    one verdict, so that they can be set side by side.
    """
    judge = RulesJudge()
    table = {}
    for where, chosen in (
        (TUNED_ON, [e for e in episodes if e.task.suite == TUNED_ON]),
        (HELD_OUT, [*(e for e in episodes if e.task.suite != TUNED_ON), *of_other_models]),
    ):
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for episode in chosen:
            passes = result_of(episode).passes
            verdict = judge.judge(episode.task, episode.steps).solved
            ours += [(verdict, other) for other in passes]
            theirs += combinations(passes, 2)
        table[f"{RULES}, {where}"] = _sameness(len(chosen), ours)
        table[f"{ITSELF}, {where}"] = _sameness(len(chosen), theirs)
    return table


def _sameness(episodes: int, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    same = fmean(a == b for a, b in pairs)
    first, second = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    chance = sum(first[verdict] * second[verdict] for verdict in first) / len(pairs) ** 2
    return {"episodes": episodes, "pairs": len(pairs), "same": same, "kappa": (same - chance) / (1 - chance)}


def _invention_passes(judge: RulesJudge, episode: Trajectory) -> float:
    """Return our verdict, but solved where the only reason against is that the answer uses no response."""
    solved = judge.judge(episode.task, episode.steps).solved
    return 1.0 if solved == UNSURE and not admitted_failure(final_answer(episode.steps)) else solved


def _our_rewards(episode: Annotated) -> list[float]:
    judged = RulesJudge().judge(_task(episode), episode.steps)
    return [(s + c) / 2 for s, c in zip(judged.succ_calling[:-1], judged.contribution[:-1], strict=True)]


def _our_successes(episode: Annotated) -> list[float]:
    return list(RulesJudge().judge(_task(episode), episode.steps).succ_calling[:-1])


def _authors_rewards(episode: Annotated, full: float) -> list[float]:
    answer = final_answer(episode.steps)
    bodies = [step.body for step in episode.steps[:-1]]
    return [(authors_rules.succeeded(body) + full * authors_rules.contribution(body, answer)) / 2 for body in bodies]


def _our_contribution(query: str, step: Step, answer: str) -> float:
    return contributions(query, [Use(step.action.arguments, response_text(step.body))], answer)[0]


def _task(episode: Annotated) -> Task:
    return Task("", episode.source, episode.query, ())


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation; `None` where one vector is constant."""
    return float(np.corrcoef(first, second)[0, 1]) if np.ptp(first) and np.ptp(second) else None


def _folders(path: Path) -> list[Path]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
    if not folders:
        raise DataError(f"{path}: holds no folder of a judged run")
    return folders


if __name__ == "__main__":
    run_command("stabletoolbench.judge_agreement", Options, run)
