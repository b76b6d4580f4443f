"""Transfer of training on long chains: tasks, worlds and levels that the policies were never trained on.

    python -m benchmarks.transfer --runs runs/learning/depth-5 --arms steptool final --seeds 3 --jobs 2

The policies are those of finished runs of `benchmarks.learning.experiment`, and are not trained further. All play the
same tasks greedily, the start also at its best temperature. Finished evaluations are kept in the folders of the runs,
and are repeated for other tasks or weights. `benchmarks.complexfuncbench.transfer` fine-tunes them for another one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from agents.evaluation.bootstrap import Scores, estimate
from agents.evaluation.evaluate import tasks_of
from agents.evaluation.panels import GREEDY, Panel, PanelEvaluation, key, trained_depths
from agents.evaluation.results import panel_digest
from agents.models.bundle import build_policy
from agents.models.checkpoint import load_digest, resolve_checkpoint
from benchmarks.harness.command import run_command
from benchmarks.harness.jobs import do_all
from benchmarks.harness.report import Result, Row
from benchmarks.learning.aggregates import difference, iqm
from benchmarks.learning.finished_runs import START
from benchmarks.learning.report import interval, percent_text
from benchmarks.learning.runs import finished
from benchmarks.learning.training_run import BEST, POLICY, read_plan, read_result
from steptool_env.errors import ConfigurationError

_BASELINE = "final"
_SPLITS = ("G1_instruction", "G1_tool", "G1_category", "G2_instruction", "G2_category", "G3_instruction")
_FILE = "transfer.json"


@dataclass(frozen=True)
class Options:
    """Evaluate the policies of a learning experiment on tasks and worlds that they were not trained on.

    Example: python -m benchmarks.transfer --runs runs/learning/depth-5 --arms steptool final
    """

    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of finished runs of one depth."""
    arms: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ARM")] = ("steptool", _BASELINE)
    """Names of the arms."""
    seeds: int = 3
    """Number of runs per arm, from seed 0."""
    episodes: int = 200
    """Number of tasks of each panel."""
    jobs: int = 1
    """Number of processes, one thread each."""


def run(options: Options) -> Result:
    """Evaluate the policies that have not been yet, and compare.

    Raises:
        ConfigurationError: A run is missing or unfinished, or a number is out of its range.
        CheckpointError: The policy of a run is missing.
    """
    if min(options.seeds, options.episodes, options.jobs) < 1 or not options.arms:
        raise ConfigurationError("seeds, episodes, jobs and the number of arms must be at least 1")
    names = finished(options.runs, options.arms, options.seeds)
    panels = panels_of(trained_depths(read_plan(options.runs / START).config.env)[0], options.episodes)
    missing = [folder for name in names if _read(folder := options.runs / name, panels) is None]
    do_all("policies", [(_play, folder, panels) for folder in missing], len(names), options.jobs)
    records = {name: record for name in names if (record := _read(options.runs / name, panels)) is not None}
    return _report(options, panels, records)


def panels_of(depth: int, episodes: int) -> dict[str, tuple[Panel, ...]]:
    """Return the panels by what is new in them, for policies that were trained on tasks of one depth.

    The deepest tasks have one call more than those of training; the panel of their own depth is for comparison.
    """
    some_depths = sorted({1, 3, depth})
    wordy = {"level": "standard", "tools": None, "prompt": "compact"}
    new: dict[str, dict[str, dict[str, Any]]] = {
        "another depth": {f"depth-{each}": {"split": f"depth-{each}"} for each in range(1, depth + 2)},
        "another split": {split: {"split": split, "depths": None} for split in _SPLITS},
        "a world of another seed": {
            f"depth-{each}, world 1": {"split": f"depth-{each}", "world_seed": 1} for each in some_depths
        },
        "a larger and wordier world": {
            f"depth-{each}, standard": {"split": f"depth-{each}", **wordy} for each in some_depths
        },
    }
    return {
        what: tuple(Panel(name, overrides, episodes) for name, overrides in some.items()) for what, some in new.items()
    }


def _play(folder: Path, panels: Mapping[str, Sequence[Panel]]) -> None:
    """Play all panels with the policy of one run, and write the evaluation atomically."""
    plan, result = read_plan(folder), read_result(folder)
    assert result is not None
    decodings = {GREEDY: 0.0, **({BEST: result["temperature"]} if plan.arm == START else {})}
    policy, weights = _checkpoint(folder), _weights(folder)
    bundle = build_policy(replace(plan.config.policy, checkpoint=str(policy), critic="none", lora_rank=0))
    every = [panel for some in panels.values() for panel in some]
    evaluation = PanelEvaluation(every, plan.config.env, bundle, plan.config.sampling, decodings)
    content = {"weights": weights, "panels": evaluation.digests, "metrics": evaluation()}
    partial = folder / f".{_FILE}"
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / _FILE)


def _read(folder: Path, panels: Mapping[str, Sequence[Panel]]) -> dict[str, Any] | None:
    """Return the evaluation in a folder; `None` if it is missing, or of other tasks or weights."""
    try:
        found: dict[str, Any] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    is_same = found.get("weights") == _weights(folder) and found["panels"] == _digests(folder, panels)
    return found if is_same else None


def _checkpoint(folder: Path) -> Path:
    """Return the folder of the policy of a run."""
    plan = read_plan(folder)
    return resolve_checkpoint(plan.config.policy.checkpoint) if plan.arm == START else folder / POLICY


def _weights(folder: Path) -> str:
    """Return a digest of the policy of a run, which may be trained again in its folder."""
    return load_digest(_checkpoint(folder))


def _digests(folder: Path, panels: Mapping[str, Sequence[Panel]]) -> dict[str, str]:
    env = read_plan(folder).config.env
    return {panel.name: panel_digest(tasks_of(panel.evaluation(env))) for some in panels.values() for panel in some}


def _report(
    options: Options, panels: Mapping[str, Sequence[Panel]], records: Mapping[str, Mapping[str, Any]]
) -> Result:
    """Return the pass rates, and the differences to the start at its best temperature and to the final reward."""

    def scores(arm: str, panel: str, metric: str = "pass_rate") -> Scores:
        names = [f"{arm}-{seed}" for seed in range(options.seeds)]
        return np.array([records[name]["metrics"][key(GREEDY, panel, metric)] for name in names])

    rates: list[Row] = []
    gains: list[Row] = []
    for what, some in panels.items():
        for panel in some:
            own = records[START]["metrics"]
            start, best = (own[key(decoding, panel.name, "pass_rate")] for decoding in (GREEDY, BEST))
            given = {arm: scores(arm, panel.name) for arm in options.arms}
            place = {"new": what, "tasks": panel.name}
            lines = {"start": percent_text(start), "start, best": percent_text(best)}
            rates.append({**place, **lines, **{arm: interval(estimate(iqm, each)) for arm, each in given.items()}})
            gained = {f"{arm} - start": interval(estimate(iqm, each - best)) for arm, each in given.items()}
            against = {
                f"{arm} - {_BASELINE}": interval(estimate(difference, each, given[_BASELINE]))
                for arm, each in given.items()
                if arm != _BASELINE and _BASELINE in given
            }
            gains.append({**place, **gained, **against})
    tables: dict[str, Sequence[Row]] = {
        "Pass rate, greedy, %": rates,
        "Gain over the start at its best temperature, points": gains,
        "Panels": [{"panel": name, "digest": digest} for name, digest in records[START]["panels"].items()],
    }
    notes = [
        f"{options.episodes} tasks of each panel, {options.seeds} runs of each arm; interquartile means with bootstrap "
        "intervals over runs, which leave out that the tasks are a sample and are too narrow for fewer than ten runs.",
        "The start's best temperature was chosen on validation tasks of the depth of training.",
    ]
    return Result("transfer", "What training on long chains carries over", tables, notes)


if __name__ == "__main__":
    run_command("transfer", Options, run, ["scipy"])
