"""Learning curve on ComplexFuncBench: fine-tuning on demonstrations, then training with two rewards.

    python -m benchmarks.complexfuncbench.learning --config benchmarks/complexfuncbench/attraction.yaml \
      --demonstrations 84 --epochs 8 --calls 4000 --points 4 --episodes 24 --seeds 3 --jobs 2

The start is a policy of ToolWorld (by default the one that ships with the project) after fine-tuning on the oracle's
episodes of the split `train`. From it PPO trains with the exact rewards of every call (`steptool`) and with the final
reward alone (`final`), with equal calls and the settings that ToolWorld's sweep chose. The curve of the fine-tuning is
on validation tasks. The curves of training are on test tasks, which have the patterns of training with other places and
dates; `test-patterns` has chains of calls that training never shows. Finished runs are kept in `--runs`, and unfinished
ones go on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from agents.evaluation.bootstrap import Scores, estimate
from agents.evaluation.panels import GREEDY, Panel, PanelEvaluation, key
from agents.evaluation.results import metrics_of
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.reporting.console import TrainingProgressBar
from agents.reporting.plots import Curve, line_plot
from agents.training.config import read_config
from benchmarks.complexfuncbench.fine_tuning import (
    CONFIG,
    FineTuning,
    encode,
    fine_tune,
    greedy_episodes,
    loss_on,
    named,
    oracle_episodes,
    read_policy,
)
from benchmarks.complexfuncbench.tasks import visible
from benchmarks.harness.command import run_command
from benchmarks.harness.process import ROOT
from benchmarks.harness.report import RESULTS, Result, Row, Value, origin
from benchmarks.learning.aggregates import difference, iqm
from benchmarks.learning.arms import arm_config
from benchmarks.learning.finished_runs import at_marks
from benchmarks.learning.report import interval, percent_text
from benchmarks.learning.runs import PACKAGES, perform
from benchmarks.learning.training_run import Plan
from steptool_env.complexfuncbench.benchmark import load_benchmark
from steptool_env.complexfuncbench.splits import select
from steptool_env.errors import ConfigurationError
from toolserver.complexfuncbench.data import find_data, read_apis, read_tasks

_ARMS = ("steptool", "final")
_DECODINGS = {GREEDY: 0.0}  # sampled actions of a policy that learns ramble, and take several times as long
_VALIDATION = 40
"""Number of validation tasks that are played after each pass, evenly spread over the split. A policy that was not shown
any task plays each to its end, 640 tokens a call."""
_START, _RESULT = "start", "result.json"
_TEST, _PATTERNS = "test", "test-patterns"
_NEEDED, _SOLVED = "needed calls %", "solved %"
_COLUMNS = {
    _NEEDED: "needed_calls",
    _SOLVED: "pass_rate",
    "finished %": "finish_rate",
    "invalid calls %": "invalid_call_rate",
    "cut by the context %": "context_full_rate",
}
"""Column -> metric of an evaluation."""
_TOOLWORLD = "learning_depth_5"
"""Result of ToolWorld's experiment, whose curves of the same arms are drawn beside these."""


@dataclass(frozen=True)
class Options:
    """Train a policy on ComplexFuncBench: demonstrations first, then rewards.

    Example: python -m benchmarks.complexfuncbench.learning
    """

    policy: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("nano-sft")
    """Checkpoint of a policy of ToolWorld."""
    demonstrations: int = 280
    """Number of tasks of the split `train` that the oracle demonstrates."""
    epochs: int = 3
    """Passes over the demonstrations."""
    calls: int = 4000
    """Environment calls of training in each run; 0 for the fine-tuning alone."""
    points: int = 2
    """Number of evaluations per run, evenly spaced over the calls, the last at the end."""
    seeds: int = 1
    """Number of runs per arm."""
    episodes: int = 160
    """Number of test tasks of each evaluation; fewer than 160 leave out groups, which follow each other, and a
    configuration of one group has 24 to 64."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = CONFIG
    """YAML file of the environment and of training, as for `steptool train`."""
    jobs: int = 1
    """Number of concurrent runs, one thread each."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/complexfuncbench")
    """Folder of the runs."""


def run(options: Options) -> Result:
    """Do what is unfinished, and report.

    Raises:
        ConfigurationError: A number is out of its range, the folder holds runs of other settings, or the data is
            missing.
        SystemExit: Runs failed; the finished ones are kept.
    """
    least = {**dict.fromkeys(("demonstrations", "epochs", "points", "seeds", "episodes", "jobs"), 1), "calls": 0}
    if wrong := [name for name, number in least.items() if getattr(options, name) < number]:
        raise ConfigurationError(f"{wrong[0]}={getattr(options, wrong[0])}: must be at least {least[wrong[0]]}")
    start, folder = _start(options), options.runs / _START
    digest, started = checkpoint.load_digest(folder), origin(PACKAGES)
    test, patterns = _panels(options)
    plans = [
        Plan(
            arm, seed, options.points, digest,
            arm_config(arm, seed, options.config, folder, options.calls, options.runs / f"{arm}-{seed}"),
            (test,), (patterns,), started, _DECODINGS,
        )
        for seed in range(options.seeds if options.calls else 0)
        for arm in _ARMS
    ]  # fmt: skip
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for each in perform(plans, options.jobs):
        runs.setdefault(each["arm"], []).append(each)
    result = _report(options, start, runs)
    return replace(result, notes=[*result.notes, _shown(options)])


def _panels(options: Options) -> tuple[Panel, Panel]:
    """Return the tasks of the curve, and those of other patterns."""
    return Panel(_TEST, {"split": _TEST}, options.episodes), Panel(_PATTERNS, {"split": _PATTERNS}, options.episodes)


def _start(options: Options) -> dict[str, Any]:
    """Return the result of the fine-tuning; do it first, unless it is done.

    It has `settings`, `curve` (a record after each pass), `test` (the evaluation of the panels) and `seconds`.
    """
    folder = options.runs / _START
    tuning = FineTuning(options.demonstrations, options.epochs, config=options.config)
    policy = checkpoint.load_digest(checkpoint.resolve_checkpoint(options.policy))
    settings = {**tuning.settings, "start": policy, "episodes": options.episodes}
    if (folder / _RESULT).exists():
        found: dict[str, Any] = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        if found["settings"] != settings:
            raise ConfigurationError(f"{folder} holds a fine-tuning of other settings; choose another --runs")
        return found
    torch.set_num_threads(1)
    begin = perf_counter()
    bundle, given = read_policy(options.policy, options.config), read_config(options.config)
    curve = _fine_tuned(bundle, tuning)
    evaluation = PanelEvaluation(_panels(options), given.env, bundle, given.sampling, _DECODINGS)
    checkpoint.save(folder, bundle.policy, bundle.tokenizer, config=settings)
    found = {"settings": settings, "curve": curve, "test": evaluation(), "digests": evaluation.digests}
    found["seconds"] = perf_counter() - begin
    partial = folder / f".{_RESULT}"
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / _RESULT)
    return found


def _fine_tuned(bundle: PolicyBundle, tuning: FineTuning) -> list[dict[str, float]]:
    """Fine-tune a policy. Return its evaluations on validation tasks before and after each pass."""
    shown = oracle_episodes(tuning.config, "train", tuning.demonstrations)
    demonstrated = oracle_episodes(tuning.config, "validation")
    held_out, count = encode(bundle, demonstrated), min(_VALIDATION, len(demonstrated))
    curve: list[dict[str, float]] = []

    def evaluate(passes: int) -> None:
        metrics = metrics_of(greedy_episodes(bundle, tuning.config, "validation", count))
        chosen = {name: metrics[name] for name in _COLUMNS.values()}
        curve.append({"passes": passes, "loss": loss_on(bundle, held_out), **chosen})

    with TrainingProgressBar("fine-tuning") as bar:

        def on_step(step: int, total: int, metrics: dict[str, float]) -> None:
            bar.report(step, total, f"loss {metrics['loss']:.3f}")
            if step * tuning.epochs % total == 0:
                evaluate(step * tuning.epochs // total)

        evaluate(0)
        fine_tune(bundle, shown, tuning, on_step)
    return curve


Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""Results of the runs by arm, seed by seed."""


def _report(options: Options, start: Mapping[str, Any], runs: Runs) -> Result:
    tuning = start["curve"]
    tables: dict[str, Sequence[Row]] = {
        "Fine-tuning on demonstrations: validation tasks, greedy": [_tuning_row(record) for record in tuning]
    }
    figures = {
        "Fine-tuning: loss on validation tasks": line_plot(
            {"loss": Curve(range(len(tuning)), [record["loss"] for record in tuning])},
            "passes over the demonstrations", "nats per action token",
        ),
    }  # fmt: skip
    notes = [
        f"The start: {options.demonstrations} demonstrations, {options.epochs} passes over them, all weights; the loss "
        f"is on all validation tasks, the other figures of the passes are on {_validation(options)}. "
        "Every evaluation plays the same tasks; needed calls are the mean share of the reference solution's calls.",
        f"Settings: {_from_root(options.config)}, and those of the arms in benchmarks/learning/arms.yaml.",
        f"Fine-tuning took {start['seconds']:.0f} s, evaluations included.",
    ]
    name, group = named("complexfuncbench_learning", options.config)
    title = f"Learning curve on {' '.join(filter(None, ('ComplexFuncBench', group)))}: demonstrations"
    if runs:
        title += ", then rewards"
        marks = [round(options.calls * point / options.points) for point in range(options.points + 1)]
        tables["Training with rewards: test tasks, greedy"] = [
            {
                "arm": arm,
                "calls": calls,
                **{c: _cell(_curve(start, each, m, marks)[place]) for c, m in _COLUMNS.items()},
            }
            for arm, each in runs.items()
            for place, calls in enumerate(marks)
        ]
        tables["steptool - final at the end, greedy"] = _differences(runs)
        figures["Needed calls made on test tasks, greedy"] = line_plot(
            {arm: _drawn(marks, _curve(start, each, "needed_calls", marks)) for arm, each in runs.items()},
            "environment calls", "needed calls made", percent=True,
        )  # fmt: skip
        figures["Test tasks solved, greedy, beside ToolWorld's chains of five"] = line_plot(
            {arm: _drawn(marks, _curve(start, each, "pass_rate", marks)) for arm, each in runs.items()} | _toolworld(),
            "environment calls", "tasks solved", percent=True,
        )  # fmt: skip
        notes += [
            f"{options.seeds} runs of each arm from one start; with two or more, interquartile means and 95 % "
            f"bootstrap intervals over runs. Training: adapters, {options.calls} calls; a run ends with the iteration "
            "that reaches them.",
            f"Training took {sum(run['seconds'] for each in runs.values() for run in each):.0f} s, with evaluations.",
        ]
    tables["At the end, greedy"] = _ends(start, runs)
    tables["Panels"] = [{"panel": name, "digest": digest} for name, digest in start["digests"].items()]
    return Result(name, title, tables, notes, figures)


def _shown(options: Options) -> str:
    """Say of how many test tasks the observations show all values that calls need, which bounds the tasks solved."""
    env = read_config(options.config).env.args
    data = find_data(env.get("data"))
    chosen = {task.id for task in select(load_benchmark(data).tasks.values(), _TEST, env.get("group", ""))}
    limit = env["max_observation_length"]
    (row,) = visible([task for task in read_tasks(data) if task.id in chosen], read_apis(data), [limit])
    return (
        f"The first {limit} characters of answers, which a policy sees, hold all values of later calls in "
        f"{row['tasks with all values shown %']} % of the {len(chosen)} test tasks."
    )


def _validation(options: Options) -> str:
    _, group = named("", options.config)
    return "them, too" if group else f"{_VALIDATION} of them, of all groups"


def _from_root(file: Path) -> Path:
    """Return the path of a file of the project from its root, that of another file unchanged."""
    return file.resolve().relative_to(ROOT) if file.resolve().is_relative_to(ROOT) else file


def _curve(start: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], metric: str, marks: Sequence[int]) -> Scores:
    """Return a greedy metric on test tasks at each mark, the first that of the start: (points + 1, seeds)."""
    name = key(GREEDY, _TEST, metric)
    return np.array([[start["test"][name], *at_marks(run["curve"], name, marks[1:])] for run in runs]).T


def _ends(start: Mapping[str, Any], runs: Runs) -> list[Row]:
    """Return the needed calls and solved tasks of the start and of the arms, on both panels."""
    rows: list[Row] = []
    for name, records in {_START: [start["test"]], **{arm: _last(each) for arm, each in runs.items()}}.items():
        for panel in (_TEST, _PATTERNS):
            row: dict[str, Value] = {"policy": name, "tasks": panel}
            for column, metric in _COLUMNS.items():
                row[column] = _cell(np.array([record[key(GREEDY, panel, metric)] for record in records]))
            rows.append(row)
    return rows


def _last(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return the evaluations of both panels at the end."""
    return [{**run["curve"][-1], **run["last"]} for run in runs]


def _differences(runs: Runs) -> list[Row]:
    last = {arm: _last(each) for arm, each in runs.items()}
    rows: list[Row] = []
    for panel in (_TEST, _PATTERNS):
        row: dict[str, Value] = {"tasks": panel}
        for column in (_NEEDED, _SOLVED):
            name = key(GREEDY, panel, _COLUMNS[column])
            pair = (np.array([record[name] for record in last[arm]]) for arm in _ARMS)
            row[f"{column[:-2]}, points"] = interval(estimate(difference, *pair))
        rows.append(row)
    return rows


def _tuning_row(record: Mapping[str, float]) -> Row:
    rates = {column: percent_text(record[metric]) for column, metric in _COLUMNS.items()}
    return {"passes": int(record["passes"]), "loss, nats per token": f"{record['loss']:.3f}", **rates}


def _toolworld() -> dict[str, Curve]:
    """Return the published curves of the same arms in ToolWorld; none without that result."""
    path = RESULTS / f"{_TOOLWORLD}.json"
    tables = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.exists() else {}
    rows = [row for heading, each in tables.items() if heading.startswith("Curves") for row in each]
    found = {arm: [row for row in rows if row["arm"] == arm] for arm in _ARMS}
    return {
        f"{arm}, ToolWorld": Curve(
            [row["calls"] for row in each], [row["greedy"] / 100 for row in each], paired_with=arm
        )
        for arm, each in found.items()
        if each
    }


def _drawn(marks: Sequence[int], scores: Scores) -> Curve:
    value, low, high = (part.tolist() for part in estimate(iqm, scores))
    return Curve(marks, value, low, high) if scores.shape[1] > 1 else Curve(marks, value)


def _cell(scores: Scores) -> str:
    return interval(estimate(iqm, scores))


if __name__ == "__main__":
    run_command("complexfuncbench.learning", Options, run, PACKAGES)
