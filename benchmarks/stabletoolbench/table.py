"""StepTool's published table, recomputed from its judged runs, and pass rates under equal call budgets.

    python -m benchmarks.stabletoolbench.table --runs judged_runs --queries solvable_queries

Definitions in `docs/evaluation.md`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from steptool_env.errors import DataError
from steptool_env.metrics import (
    EpisodeResult,
    pass_at_budget,
    pass_given_finish,
    pass_rate,
    pass_rate_spread,
    recall,
    summarize,
)
from steptool_env.types import FINISH
from toolserver.stabletoolbench import JudgedEpisode, read_judged_run, read_queries

GROUPS = {
    "I1": ("G1_instruction", "G1_category", "G1_tool"),
    "I2": ("G2_instruction", "G2_category"),
    "I3": ("G3_instruction",),
}
BUDGETS = range(1, 18)
_SCORES = {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}
_NOTES = (
    "pass in %, ± over judge repeats; recall in 0..1; @4: pass when every episode is cut at 4 calls, @17: at 17",
    "published: whether the cells that StepTool published come out to their last digit",
)
Groups = dict[str, list[EpisodeResult]]
"""Results by group of sets, or by set."""
Runs = dict[str, Groups]
"""Results by run and set."""
Figures = dict[str, Any]
"""See `figures`."""
_INVALID = ('{"error": "No such function name', '{"error": "Tool input parse error')


class Published(NamedTuple):
    """Row of StepTool's README (May 2025, ToolLLaMA-2-7b-v2, CoT): pass rate and its ± in percent, recall in 0..1."""

    pass_mean: float
    pass_std: float
    recall: float


PUBLISHED = {
    "toolllama_sft_cot": {
        "I1": Published(50.6, 1.6, 0.7952),
        "I2": Published(47.1, 0.8, 0.8081),
        "I3": Published(40.4, 0.8, 0.6833),
    },
    "baseline-ppo_cot": {
        "I1": Published(50.9, 1.0, 0.8030),
        "I2": Published(46.6, 2.0, 0.8185),
        "I3": Published(40.2, 0.0, 0.6869),
    },
    "steptool_cot": {
        "I1": Published(61.1, 0.7, 0.8743),
        "I2": Published(56.6, 2.2, 0.8992),
        "I3": Published(45.9, 1.8, 0.7724),
    },
}
_NEAR = 0.0501  # half of the last published digit; a thousandth of it for the recall, which has four decimals


@dataclass(frozen=True)
class Options:
    """Recompute the published table of judged runs.

    Example: python -m benchmarks.stabletoolbench.table --runs data/judged_runs --queries data/solvable_queries
    """

    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder with one folder per run, each with <set>.json."""
    queries: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder with <set>.json (or with test_instruction/<set>.json)."""


def run(arguments: Options) -> Result:
    """Compute the table."""
    runs = read_runs(arguments.runs, arguments.queries)
    tables: dict[str, list[Row]] = {
        "Judged runs, recomputed": [_row(run, group, row, runs[run]) for run, group, row in _figures(runs, grouped)],
        "The same by set": [_row(run, name, row, {}) for run, name, row in _figures(runs, dict)],
        "Pass rate in % when every episode is cut after so many calls": _by_budget(runs),
    }
    return Result("stabletoolbench_table", "StepTool's published table, recomputed", tables, _NOTES)


def _figures(
    runs: Runs, group: Callable[[Mapping[str, list[EpisodeResult]]], Groups]
) -> Iterator[tuple[str, str, Figures]]:
    """Return the figures of every run and group."""
    for run, sets in runs.items():
        for name, results in group(sets).items():
            yield run, name, figures(results)


def _by_budget(runs: Runs) -> list[Row]:
    """Return one row per budget and one column per run and group."""
    rates = {f"{run} {group}": row["pass_at_budget"] for run, group, row in _figures(runs, grouped)}
    return [{"calls": n, **{name: round(by_calls[str(n)], 1) for name, by_calls in rates.items()}} for n in BUDGETS]


def _row(run: str, group: str, row: Figures, sets: Mapping[str, Any]) -> Row:
    """Return a row of a table, with texts where three digits are not enough."""
    budget = row["pass_at_budget"]
    return {
        "run": run,
        "group": group,
        "queries": row["queries"],
        "pass": f"{row['pass_mean']:.1f} ± {row['pass_std']:.1f}",
        "pass given finish": f"{row['pass_given_finish']:.1f}",
        "recall": f"{row['recall']:.4f}",
        "recall compat": f"{row['recall_compat']:.4f}",
        "@4": f"{budget['4']:.1f}",
        "@17": f"{budget['17']:.1f}",
        "calls": f"{row['calls']:.2f}",
        **({"published": compare(run, group, row, sets)} if sets else {}),
    }


def read_runs(runs: Path, queries: Path) -> Runs:
    """Read the results of the episodes by run and set, sets in the order of `GROUPS`. Raises `DataError`."""
    folders = sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    if not folders:
        raise DataError(f"--runs {runs}: holds no folder of a run; give the folder above <run>/<set>.json")
    nested = queries / "test_instruction"
    queries = nested if nested.is_dir() else queries
    return {folder.name: dict(_read_run(folder, queries)) for folder in folders}


def _read_run(folder: Path, queries: Path) -> list[tuple[str, list[EpisodeResult]]]:
    names = [name for sets in GROUPS.values() for name in sets if (folder / f"{name}.json").is_file()]
    if not names:
        raise DataError(f"{folder}: holds none of {', '.join(n for sets in GROUPS.values() for n in sets)} (.json)")
    return [(name, _read_set(name, folder / f"{name}.json", queries / f"{name}.json")) for name in names]


def _read_set(name: str, run: Path, queries: Path) -> list[EpisodeResult]:
    relevant = {query.query_id: query.relevant for query in read_queries(queries)}
    episodes = read_judged_run(run)
    unknown = [episode.query_id for episode in episodes if episode.query_id not in relevant]
    if unknown:
        raise DataError(f"{run}: queries {', '.join(unknown[:5])} are not in {queries}")
    return [judged_result(name, episode, relevant[episode.query_id]) for episode in episodes]


def judged_result(suite: str, episode: JudgedEpisode, relevant: Sequence[str]) -> EpisodeResult:
    """Return the result of a published episode by the conventions of the published table."""
    answered: dict[str, bool] = {}
    for step in episode.steps:
        good = (
            not step.response.startswith("{error") if step.name == FINISH else step.response.startswith('{"error": ""')
        )
        answered.setdefault(step.name, good)
    return EpisodeResult(
        suite=suite,
        passes=tuple(_SCORES[judgement] for judgement in episode.judgements),
        relevant=tuple(relevant),
        answered=answered,
        calls=len(episode.steps),
        invalid_calls=sum(step.response.startswith(_INVALID) for step in episode.steps),
        finished=bool(episode.steps) and episode.steps[-1].name == FINISH,
    )


def grouped(sets: Mapping[str, Sequence[EpisodeResult]]) -> Groups:
    """Return the results by group, over the available sets."""
    groups = {group: [result for name in names for result in sets.get(name, ())] for group, names in GROUPS.items()}
    return {group: results for group, results in groups.items() if results}


def figures(results: Sequence[EpisodeResult]) -> Figures:
    """Return the figures of one group of queries: pass rates in percent, recalls in 0..1."""
    return {
        "queries": len(results),
        "pass_mean": 100 * pass_rate(results),
        "pass_std": _published_spread(results),
        "recall": recall(results),
        "recall_compat": recall(results, compat=True),
        "calls": summarize(results)["calls"],
        "pass_given_finish": 100 * pass_given_finish(results),
        "pass_at_budget": {str(budget): 100 * pass_at_budget(results, budget) for budget in BUDGETS},
    }


def _published_spread(results: Sequence[EpisodeResult]) -> float:
    """Return the ± of the published table in percent: the printed (rounded) ± of each set, weighted by its queries."""
    sets = {result.suite: [other for other in results if other.suite == result.suite] for result in results}
    return sum(len(group) * round(100 * pass_rate_spread(group), 1) for group in sets.values()) / len(results)


def compare(run: str, group: str, row: Mapping[str, Any], sets: Mapping[str, Any]) -> str:
    """Compare a row with the published one: return the cells that differ, or the reason against a comparison."""
    published = PUBLISHED.get(run, {}).get(group)
    if published is None:
        return "not published"
    missing = [name for name in GROUPS[group] if name not in sets]
    if missing:
        return f"no {', '.join(missing)}"
    cells = {
        "pass": abs(row["pass_mean"] - published.pass_mean) < _NEAR,
        "±": abs(row["pass_std"] - published.pass_std) < _NEAR,
        "recall": abs(row["recall_compat"] - published.recall) < _NEAR / 1000,
    }
    different = [cell for cell, same in cells.items() if not same]
    return f"differs: {', '.join(different)}" if different else "matches"


if __name__ == "__main__":
    run_command("stabletoolbench.table", Options, run)
