"""ComplexFuncBench's tasks: recordings, data flow and splits, with floors and ceiling.

    python -m benchmarks.complexfuncbench.tasks [--data DIR]

The floors are untrained agents: `no-tools` answers at once, `random` makes random calls, `repeat` makes one random call
again and again, `greedy-docs` calls the functions whose documentation shares most words with the query. The ceiling is
the `oracle`, which knows the reference solution.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.base import EpisodeAgent, Info
from agents.baselines.oracle import answer
from agents.baselines.random import RandomAgent
from benchmarks.harness.command import run_command
from benchmarks.harness.floors import floors
from benchmarks.harness.report import Result, Row
from steptool_env.complexfuncbench.benchmark import call_key, digest_of, load_benchmark
from steptool_env.complexfuncbench.data_flow import data_flows
from steptool_env.complexfuncbench.splits import SPLITS, select
from steptool_env.complexfuncbench.task import GoldTask
from steptool_env.formats import make_format
from toolserver.catalog.api_schema import ApiSpec, encode_body
from toolserver.complexfuncbench import RecordedTask, find_data, is_lookup, read_apis, read_tasks
from toolserver.complexfuncbench.data import GROUPS

_LIMITS = (512, 1024, 4096, 16_384, 65_536, 200_000)
_SHARES = (0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Options:
    """Measure ComplexFuncBench's tasks. Example: `python -m benchmarks.complexfuncbench.tasks`."""

    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the package nestful-wrapper; by default that of the installed one."""


@dataclass
class _Repeated:
    first: str
    last: str


class RepeatAgent(EpisodeAgent[_Repeated]):
    """Agent that makes one random call in every step but the last, and then answers."""

    def __init__(self) -> None:
        super().__init__("repeat")
        self._random = RandomAgent(finish=0.0)

    def begin(self, info: Info) -> _Repeated:
        """See `EpisodeAgent.begin`."""
        return _Repeated(
            self._random.decide(self._random.begin(info), "", info), answer(make_format(info["format"]), "Done.")
        )

    def decide(self, episode: _Repeated, observation: str, info: Info) -> str:  # noqa: ARG002
        """See `EpisodeAgent.decide`."""
        return episode.first if info["calls_left"] > 1 else episode.last


def recordings(tasks: Sequence[RecordedTask], apis: dict[str, ApiSpec]) -> list[Row]:
    """Count the calls, answers and references of the data."""
    answers: dict[str, Counter[str]] = {}
    first: dict[str, str] = {}
    affected: set[str] = set()
    other = 0
    for task in tasks:
        for call in task.calls:
            key, digest = call_key(apis[call.api], call.arguments), digest_of(call.response)
            answers.setdefault(key, Counter())[digest] += 1
            if first.setdefault(key, digest) != digest:
                other += 1
                affected.add(task.id)
    lookups = [(task, call) for task in tasks for call in task.calls if is_lookup(apis[call.api])]
    stated = sum(str(call.arguments["query"]).casefold() in task.query.casefold() for task, call in lookups)
    figures = {
        "tasks": len(tasks),
        "documented APIs": len(apis),
        "needed calls": sum(len(task.calls) for task in tasks),
        "references between calls in the data": sum(len(call.references) for task in tasks for call in task.calls),
        "distinct calls": len(answers),
        "distinct calls with more than one answer": sum(len(each) > 1 for each in answers.values()),
        "needed calls whose own answer is not the first": other,
        "tasks with such a call": len(affected),
        "look-ups": len(lookups),
        "look-ups whose text the request states, %": _percent(stated, len(lookups)),
    }
    return [{"figure": name, "value": value} for name, value in figures.items()]


def answer_lengths(tasks: Sequence[RecordedTask]) -> Row:
    """Return quantiles of the number of characters of an answer."""
    lengths = sorted(len(encode_body("", call.response).decode()) for task in tasks for call in task.calls)
    return {f"{share:.0%}": lengths[round(share * (len(lengths) - 1))] for share in _SHARES}


def visible(tasks: Sequence[RecordedTask], apis: dict[str, ApiSpec], limits: Sequence[int] = _LIMITS) -> list[Row]:
    """Count the values that calls take from earlier answers, and those in the first characters of the answer."""
    seen: Counter[int] = Counter()
    whole: Counter[int] = Counter()
    total = 0
    for task in tasks:
        bodies = [encode_body("", call.response).decode() for call in task.calls]
        inputs = [each for flow in data_flows(task.query, task.calls, apis) for each in flow.inputs]
        total += len(inputs)
        for limit in limits:
            shown = sum(str(each.value) in bodies[each.holders[0]][:limit] for each in inputs)
            seen[limit] += shown
            whole[limit] += shown == len(inputs)
    return [
        {
            "characters": limit,
            "values": total,
            "values shown %": _percent(seen[limit], total),
            "tasks with all values shown %": _percent(whole[limit], len(tasks)),
        }
        for limit in limits
    ]


def groups(tasks: Sequence[GoldTask]) -> list[Row]:
    """Return the figures of each group."""
    rows: list[Row] = []
    for group in (*GROUPS, "all"):
        chosen = [task for task in tasks if group in (task.group, "all")]
        calls = [call for task in chosen for call in task.calls]
        rows.append(
            {
                "group": group,
                "tasks": len(chosen),
                "patterns": len({task.pattern for task in chosen}),
                "calls": _range([len(task.calls) for task in chosen]),
                "depth": _range([task.depth for task in chosen]),
                "offered": _range([len(task.functions) for task in chosen]),
                "look-ups %": _percent(sum(call.is_lookup for call in calls), len(calls)),
                "for the answer %": _percent(sum(len(task.leaves) for task in chosen), len(calls)),
                "not grounded": sum(not task.is_grounded for task in chosen),
            }
        )
    return rows


def depths(tasks: Sequence[GoldTask]) -> list[Row]:
    """Return the number of tasks by depth."""
    counts = Counter(task.depth for task in tasks)
    return [
        {
            "depth": depth,
            "tasks": counts[depth],
            "calls": _range([len(task.calls) for task in tasks if task.depth == depth]),
        }
        for depth in sorted(counts)
    ]


def splits(tasks: Sequence[GoldTask]) -> list[Row]:
    """Return the figures of each split."""
    learned = {call.key for task in select(tasks, "train", "") for call in task.calls}
    rows: list[Row] = []
    for split in SPLITS:
        chosen = select(tasks, split, "")
        keys = {call.key for task in chosen for call in task.calls}
        rows.append(
            {
                "split": split,
                "tasks": len(chosen),
                "patterns": len({task.pattern for task in chosen}),
                "calls": _range([len(task.calls) for task in chosen]),
                "distinct calls": len(keys),
                "also in train %": _percent(len(keys & learned), len(keys)),
            }
        )
    return rows


def _percent(part: float, whole: int) -> float:
    return round(100 * part / whole, 1)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low}-{high} ({sum(values) / len(values):.2f})"


def run(options: Options) -> Result:
    """Measure all tables."""
    data = find_data(options.data)
    tasks, apis, compiled = list(read_tasks(data)), read_apis(data), list(load_benchmark(data).tasks.values())
    solved, made = floors("StepTool/ComplexFuncBench-v0", "split", SPLITS, {"data": str(data)}, {"repeat": RepeatAgent})
    tables: dict[str, Sequence[Row]] = {
        "Recordings": recordings(tasks, apis),
        "Groups": groups(compiled),
        "Depth": depths(compiled),
        "Splits, tasks solved": [{**row, **shares} for row, shares in zip(splits(compiled), solved, strict=True)],
        "Splits, needed calls made": made,
        "Length of an answer in characters": [answer_lengths(tasks)],
        "Values in the first characters of an answer": visible(tasks, apis),
    }
    notes = (
        "depth is the number of calls of the longest chain in which each takes a value from the answer before it",
        "calls are counted in canonical form, see docs/complexfuncbench.md; an answer does not depend on the order of "
        "its names",
        "every episode has a budget of 16 calls; needed calls made is the mean over tasks of the share",
    )
    return Result("complexfuncbench", "ComplexFuncBench's tasks", tables, notes)


if __name__ == "__main__":
    run_command("complexfuncbench.tasks", Options, run)
