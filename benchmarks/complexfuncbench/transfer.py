"""Transfer of training on long chains to ComplexFuncBench, after a short fine-tuning on its demonstrations.

    python -m benchmarks.complexfuncbench.transfer --runs runs/learning/depth-5 --arms steptool final --seeds 3

The policies are those of finished runs of `benchmarks.learning.experiment`. Each takes the same fine-tuning, on the
same demonstrations in the order of the run's seed, and plays the test tasks; the start takes it once for each seed. The
loss on the oracle's test episodes is measured before and after. Results are kept in the folders of the runs, and are
made again for other settings or weights.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import tyro

from agents.evaluation.bootstrap import Scores, estimate
from agents.evaluation.results import defined, metrics_of, panel_of
from agents.models.checkpoint import load_digest, resolve_checkpoint
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
from benchmarks.harness.command import run_command
from benchmarks.harness.jobs import do_all
from benchmarks.harness.report import Result, Row, Value
from benchmarks.learning.aggregates import difference, iqm
from benchmarks.learning.finished_runs import START
from benchmarks.learning.report import interval
from benchmarks.learning.runs import finished
from benchmarks.learning.training_run import POLICY, read_plan
from steptool_env.errors import ConfigurationError

_BASELINE = "final"
_PANEL = "ComplexFuncBench"
_LOSSES = {"loss before": "before", "loss after": "after"}
_RATES = {
    "needed calls %": "needed_calls",
    "solved %": "pass_rate",
    "finished %": "finish_rate",
    "cut by the context %": "context_full_rate",
}
"""Column -> metric of an evaluation."""


@dataclass(frozen=True)
class Options:
    """Fine-tune the policies of a learning experiment on ComplexFuncBench, and compare them there.

    Example: python -m benchmarks.complexfuncbench.transfer --runs runs/learning/depth-5 --arms steptool final
    """

    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of finished runs of one depth."""
    arms: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ARM")] = ("steptool", _BASELINE)
    """Names of the arms."""
    seeds: int = 3
    """Number of runs per arm, from seed 0. The start is fine-tuned once for each."""
    demonstrations: int = 140
    """Number of tasks of the split `train` that the oracle demonstrates."""
    epochs: int = FineTuning.epochs
    """Passes over the demonstrations."""
    episodes: int = 160
    """Number of test tasks, evenly spread over the split."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = CONFIG
    """YAML file of the environment, as for `steptool train`."""
    jobs: int = 1
    """Number of processes, one thread each."""


def run(options: Options) -> Result:
    """Fine-tune the policies that have not been yet, and compare.

    Raises:
        ConfigurationError: A run is missing or unfinished, a number is out of its range, or ComplexFuncBench's data is
            missing.
        CheckpointError: The policy of a run is missing.
    """
    if min(options.seeds, options.epochs, options.jobs) < 1 or not options.arms:
        raise ConfigurationError("seeds, epochs, jobs and the number of arms must be at least 1")
    finished(options.runs, options.arms, options.seeds)
    tuned = _planned(options)
    every = [each for some in tuned.values() for each in some]
    do_all("fine-tunings", [(Tuned.play, each) for each in every if not each.read()], len(every), options.jobs)
    return _report(options, {name: [found for each in some if (found := each.read())] for name, some in tuned.items()})


class Tuned(NamedTuple):
    """Fine-tuning of one policy.

    Attributes:
        folder: Run of the learning experiment, in which the result is kept.
        checkpoint: Folder of its policy.
        tuning: Settings.
        episodes: Number of test tasks.
    """

    folder: Path
    checkpoint: Path
    tuning: FineTuning
    episodes: int

    @property
    def file(self) -> Path:
        """File of the result."""
        return self.folder / f"transfer-complexfuncbench-{self.tuning.seed}.json"

    @property
    def identity(self) -> dict[str, Any]:
        """Settings that a kept result must have, with a digest of the policy's weights."""
        return {**self.tuning.settings, "start": load_digest(self.checkpoint), "episodes": self.episodes}

    def read(self) -> dict[str, Any] | None:
        """Return the result; `None` if it is missing or has other settings."""
        try:
            found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found if found["settings"] == self.identity else None

    def play(self) -> None:
        """Fine-tune the policy, play the test tasks greedily, and write the result atomically. Uses one thread."""
        torch.set_num_threads(1)
        settings, config = self.identity, self.tuning.config
        bundle = read_policy(self.checkpoint, config)
        test = encode(bundle, oracle_episodes(config, "test", self.episodes))
        before = loss_on(bundle, test)
        fine_tune(bundle, oracle_episodes(config, "train", self.tuning.demonstrations), self.tuning)
        played = greedy_episodes(bundle, config, "test", self.episodes)
        metrics = {"before": before, "after": loss_on(bundle, test), **defined(metrics_of(played))}
        content = {"settings": settings, "panel": panel_of(played), "metrics": metrics}
        partial = self.file.with_name(f".{self.file.name}")
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.file)


def _planned(options: Options) -> dict[str, list[Tuned]]:
    """Return the fine-tunings by policy, one for each seed."""
    for split, count in (("train", options.demonstrations), ("test", options.episodes)):
        oracle_episodes(options.config, split, count)

    def tuned(name: str, checkpoint: Path, seed: int) -> Tuned:
        tuning = FineTuning(options.demonstrations, options.epochs, seed=seed, config=options.config)
        return Tuned(options.runs / name, checkpoint, tuning, options.episodes)

    start = resolve_checkpoint(read_plan(options.runs / START).config.policy.checkpoint)
    trained = {
        arm: [tuned(name := f"{arm}-{seed}", options.runs / name / POLICY, seed) for seed in range(options.seeds)]
        for arm in options.arms
    }
    return {START: [tuned(START, start, seed) for seed in range(options.seeds)], **trained}


def _report(options: Options, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Result:
    """Return the losses and rates, and the differences to the start and to the final reward."""
    (digest,) = {each["panel"] for some in results.values() for each in some}
    tables: dict[str, Sequence[Row]] = {
        "Policies": _rows(results),
        "Differences": _gains(results),
        "Panels": [{"panel": _PANEL, "digest": digest}],
    }
    notes = [
        f"All weights of every policy are trained for {options.epochs} passes over the same {options.demonstrations} "
        "demonstrations, in the order of the run's seed; the start is trained once for each seed.",
        f"Losses are those of the oracle's actions on {options.episodes} test tasks, in nats per token, before and "
        "after it; the rates are greedy, on the same tasks.",
        f"{options.seeds} runs of each arm; interquartile means with bootstrap intervals over runs, which leave out "
        "that the tasks are a sample and are too narrow for fewer than ten runs.",
    ]
    name, group = named("complexfuncbench_transfer", options.config)
    title = f"What training on long chains carries over to {' '.join(filter(None, ('ComplexFuncBench', group)))}"
    return Result(name, title, tables, notes)


def _rows(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    rows: list[Row] = []
    for name in results:
        row: dict[str, Value] = {"policy": name}
        row |= {column: _nats(estimate(iqm, _scores(results, name, metric))) for column, metric in _LOSSES.items()}
        row |= {column: interval(estimate(iqm, _scores(results, name, m))) for column, m in _RATES.items()}
        rows.append(row)
    return rows


def _gains(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    pairs = [(name, START) for name in results if name != START]
    pairs += [(name, _BASELINE) for name in results if _BASELINE in results and name not in (START, _BASELINE)]
    gains: list[Row] = []
    for name, other in pairs:

        def gap(metric: str, first: str = name, second: str = other) -> Any:
            return estimate(difference, _scores(results, first, metric), _scores(results, second, metric))

        row = {"difference": f"{name} - {other}", "loss after": _nats(gap("after"))}
        gains.append(row | {f"{column[:-2]}, points": interval(gap(m)) for column, m in list(_RATES.items())[:2]})
    return gains


def _scores(results: Mapping[str, Sequence[Mapping[str, Any]]], name: str, metric: str) -> Scores:
    return np.array([each["metrics"][metric] for each in results[name]])


def _nats(found: Any) -> str:
    value, low, high = (float(part) for part in found)
    return f"{value:.3f}" if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    run_command("complexfuncbench.transfer", Options, run, ["scipy"])
