"""ComplexFuncBench after a short fine-tuning: the part of `benchmarks.transfer` that trains.

Every policy of the runs takes the same fine-tuning, on the same demonstrations in the order of the run's seed; the
start takes it once for each seed. The loss on the oracle's test episodes is measured before and after.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.evaluation.bootstrap import Scores, estimate
from agents.evaluation.results import defined, metrics_of, panel_of
from agents.models.checkpoint import load_digest, resolve_checkpoint
from benchmarks.complexfuncbench.fine_tuning import (
    FineTuning,
    encode,
    fine_tune,
    greedy_episodes,
    loss_on,
    oracle_episodes,
    read_policy,
)
from benchmarks.harness.report import Result, Row, Value
from benchmarks.learning.aggregates import difference, iqm
from benchmarks.learning.finished_runs import START
from benchmarks.learning.report import interval
from benchmarks.learning.training_run import POLICY, read_plan

TEST_TASKS = 160
"""Number of tasks of the split `test`."""
TUNING = FineTuning(0)
"""Settings but for the number of demonstrations and the seed."""
_PANEL = "ComplexFuncBench"
_LOSSES = {"loss before": "before", "loss after": "after"}
_RATES = {
    "needed calls %": "needed_calls",
    "solved %": "pass_rate",
    "finished %": "finish_rate",
    "cut by the context %": "context_full_rate",
}
"""Column -> metric of an evaluation."""


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


def planned(runs: Path, arms: Sequence[str], seeds: int, demonstrations: int, episodes: int) -> dict[str, list[Tuned]]:
    """Return the fine-tunings by policy, one for each seed.

    Args:
        runs: Folder of finished runs of the learning experiment.
        arms: Names of their arms.
        seeds: Number of runs per arm.
        demonstrations: Number of demonstrations of the fine-tuning.
        episodes: Number of test tasks; all, if there are fewer.

    Raises:
        ConfigurationError: There are fewer demonstrations, or ComplexFuncBench's data is missing.
        CheckpointError: The start of the runs is missing.
    """
    oracle_episodes(TUNING.config, "train", demonstrations)

    def tuned(name: str, checkpoint: Path, seed: int) -> Tuned:
        tuning = replace(TUNING, demonstrations=demonstrations, seed=seed)
        return Tuned(runs / name, checkpoint, tuning, min(episodes, TEST_TASKS))

    start = resolve_checkpoint(read_plan(runs / START).config.policy.checkpoint)
    trained = {
        arm: [tuned(name := f"{arm}-{seed}", runs / name / POLICY, seed) for seed in range(seeds)] for arm in arms
    }
    return {START: [tuned(START, start, seed) for seed in range(seeds)], **trained}


def with_tables(result: Result, tuned: Mapping[str, Sequence[Tuned]], baseline: str) -> Result:
    """Add the tables of finished fine-tunings, with the differences to the start and to `baseline`."""
    results = {name: [found for each in some if (found := each.read())] for name, some in tuned.items()}
    rows, gains = _rows(results), _gains(results, baseline)
    (digest,) = {each["panel"] for some in results.values() for each in some}
    tuning = tuned[START][0].tuning
    tables: dict[str, Sequence[Row]] = {
        **result.tables,
        f"ComplexFuncBench after fine-tuning on {tuning.demonstrations} demonstrations": rows,
        "ComplexFuncBench, differences": gains,
        "Panels": [*result.tables["Panels"], {"panel": _PANEL, "digest": digest}],
    }
    note = (
        f"{_PANEL}: all weights of every policy are trained for {tuning.epochs} passes over the same "
        f"{tuning.demonstrations} demonstrations, in the order of the run's seed; the start is trained once for each "
        f"seed. Losses are those of the oracle's actions on {tuned[START][0].episodes} test tasks, in nats per token, "
        "before and after it; the rates are greedy, on the same tasks."
    )
    return replace(result, tables=tables, notes=[*result.notes, note])


def _rows(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    rows: list[Row] = []
    for name in results:
        row: dict[str, Value] = {"policy": name}
        row |= {column: _nats(estimate(iqm, _scores(results, name, metric))) for column, metric in _LOSSES.items()}
        row |= {column: interval(estimate(iqm, _scores(results, name, m))) for column, m in _RATES.items()}
        rows.append(row)
    return rows


def _gains(results: Mapping[str, Sequence[Mapping[str, Any]]], baseline: str) -> list[Row]:
    pairs = [(name, START) for name in results if name != START]
    pairs += [(name, baseline) for name in results if baseline in results and name not in (START, baseline)]
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
