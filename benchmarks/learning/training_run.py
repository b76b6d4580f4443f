"""One run of the learning experiment: train from the common start, evaluate at planned points, write a result.

    python -m benchmarks.learning.training_run FOLDER

`FOLDER/plan.json` is the plan. The run writes `metrics.jsonl`, and at the end the weights to `policy` and
`result.json`. Repeated, it resumes from its newest checkpoint and gives the same numbers as an uninterrupted run; with
a result, it does nothing.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch

from agents.errors import ConfigurationError
from agents.evaluation.panels import (
    DECODINGS,
    GREEDY,
    Panel,
    PanelEvaluation,
    best_temperature,
    key,
    pass_by_temperature,
    trained_depths,
    validation_panel,
)
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle, build_policy
from agents.rollout.curriculum import open_training_pool
from agents.training.config import TrainConfig, checked
from agents.training.marks import Trainer, marks_of, train_with_marks
from agents.training.metrics_log import MetricsLog, read_metrics
from agents.training.trainer import OnlineTrainer
from benchmarks.learning.arms import ARMS
from benchmarks.learning.baselines import BaselineTrainer

BEST = "best"
"""Decoding of the start at its best temperature on validation tasks."""
POLICY = "policy"
"""Folder of the trained weights in that of a run."""

OnCalls = Callable[[int, float | None], None]
"""Callback with the calls so far and, after an evaluation, the mean greedy pass rate over the curve's panels."""

_PLAN, _RESULT = "plan.json", "result.json"


@dataclass(frozen=True)
class Plan:
    """Plan of one run.

    Attributes:
        arm: Name of the arm.
        seed: Random seed of the run.
        points: Number of evaluations after the start, evenly spaced over the calls; 0 evaluates only the start.
        start: Digest of the starting weights.
        config: All settings.
        curve_panels: Panels of these evaluations.
        end_panels: Panels of the evaluation at the end; may be empty.
        origin: Command, commit, machine and versions (`benchmarks.harness.report.origin`) of the experiment.
        decodings: Temperature of each way of decoding in the evaluations, by its name; among them `greedy`.
    """

    arm: str
    seed: int
    points: int
    start: str
    config: TrainConfig
    curve_panels: Sequence[Panel]
    end_panels: Sequence[Panel]
    origin: Mapping[str, Any]
    decodings: Mapping[str, float] = field(default_factory=DECODINGS.copy)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(self.config.out)

    def write(self) -> None:
        """Write the plan to its folder.

        Raises:
            ConfigurationError: The folder holds a run of other settings.
        """
        path = self.folder / _PLAN
        if path.exists() and (other := _difference(_identity(read_plan(self.folder)), _identity(self))):
            raise ConfigurationError(
                f"{self.folder} holds a run of other settings ({other}); choose another folder for the runs"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_plan(folder: Path) -> Plan:
    """Read the plan in a folder."""
    found = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    panels = {name: tuple(Panel(**panel) for panel in found[name]) for name in ("curve_panels", "end_panels")}
    return Plan(**{**found, **panels, "config": checked(TrainConfig, found["config"])})


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read the result of a run; `None` if unfinished.

    It has the plan, `curve` (one record per evaluation), `last` (the record of the evaluation at the end), `digests`
    (of the panels, by name), `seconds`, and for the start `temperature` and `validation` (pass rate by temperature).
    """
    path = folder / _RESULT
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def play(folder: Path, on_calls: OnCalls) -> None:
    """Do the run of a folder, unless it is finished. Uses one thread, so that runs can be concurrent."""
    if read_result(folder) is not None:
        return
    torch.set_num_threads(1)
    plan = read_plan(folder)
    bundle = build_policy(plan.config.policy, seed=plan.config.seed)
    if plan.points:
        found = _trained(plan, bundle, on_calls)
        settings = {**asdict(plan.config), "arm": plan.arm}
        checkpoint.save(folder / POLICY, bundle.policy, bundle.tokenizer, config=settings)
        _write(plan, found)
        for path in folder.glob("checkpoint-*"):
            shutil.rmtree(path)
    else:
        _write(plan, _started(plan, bundle, on_calls))


def mean_pass(record: Mapping[str, float], plan: Plan) -> float:
    """Return the mean greedy pass rate of an evaluation over the panels of the curve."""
    return fmean(record[key(GREEDY, panel.name, "pass_rate")] for panel in plan.curve_panels)


def _panels(plan: Plan, bundle: PolicyBundle, panels: Sequence[Panel], **more: float) -> PanelEvaluation:
    config = plan.config
    return PanelEvaluation(panels, config.env, bundle, config.sampling, {**plan.decodings, **more})


def _started(plan: Plan, bundle: PolicyBundle, on_calls: OnCalls) -> dict[str, Any]:
    """Evaluate the start, also at the temperature that is best on validation tasks."""
    config, begin = plan.config, perf_counter()
    size = max(panel.episodes for panel in plan.curve_panels)
    validation = [validation_panel(depth, size) for depth in trained_depths(config.env)]
    rates = pass_by_temperature(validation, config.env, bundle, config.sampling)
    temperature = best_temperature(rates)
    curve, end = (
        _panels(plan, bundle, panels, **{BEST: temperature}) for panels in (plan.curve_panels, plan.end_panels)
    )
    first = {"calls": 0, **curve()}
    on_calls(0, mean_pass(first, plan))
    found = {"curve": [first], "last": end(), "digests": {**curve.digests, **end.digests}}
    return {**found, "temperature": temperature, "validation": rates, "seconds": perf_counter() - begin}


def _trained(plan: Plan, bundle: PolicyBundle, on_calls: OnCalls) -> dict[str, Any]:
    """Train to the end, with a checkpoint at each evaluation; keep the newest."""
    found = checkpoint.newest(plan.folder)
    keep = checkpoint.load_counters(found).iteration if found else None
    curve, end = (_panels(plan, bundle, panels) for panels in (plan.curve_panels, plan.end_panels))
    with (
        closing(open_training_pool(plan.config.env)) as pool,
        closing(MetricsLog(plan.folder, keep_until=keep)) as log,
    ):
        baseline = ARMS[plan.arm].baseline
        trainer: Trainer = (
            BaselineTrainer(baseline, plan.config, bundle, pool)
            if baseline
            else OnlineTrainer(plan.config, bundle, pool)
        )
        if found is not None:
            trainer.resume(found)

        def on_iteration(metrics: Mapping[str, float], due: bool) -> None:
            on_calls(trainer.counters.calls, mean_pass(metrics, plan) if due else None)
            if due:
                trainer.save(plan.folder / f"checkpoint-{trainer.counters.iteration}")

        train_with_marks(trainer, log, marks_of(plan.config.calls, plan.points), curve, on_iteration)
    begin = perf_counter()
    records, last = read_metrics(plan.folder), end()
    evaluated = [record for record in records if key(GREEDY, plan.curve_panels[0].name, "pass_rate") in record]
    seconds = sum(record["time/whole_seconds"] for record in records) + perf_counter() - begin
    return {"curve": evaluated, "last": last, "digests": {**curve.digests, **end.digests}, "seconds": seconds}


def _write(plan: Plan, found: Mapping[str, Any]) -> None:
    """Write the result atomically."""
    partial = plan.folder / f".{_RESULT}"
    partial.write_text(json.dumps({**asdict(plan), **found}, indent=1) + "\n", encoding="utf-8")
    partial.replace(plan.folder / _RESULT)


def _identity(plan: Plan) -> dict[str, Any]:
    """Return the settings that must be equal to resume a run. The starting checkpoint is identified by its digest."""
    policy = replace(plan.config.policy, checkpoint="")
    return {**asdict(replace(plan, config=replace(plan.config, policy=policy, out=""))), "origin": None}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> str:
    """Return the first differing setting with both values; empty without one."""
    for name, value in one.items():
        if isinstance(value, Mapping) and isinstance(other[name], Mapping) and value.keys() == other[name].keys():
            if found := _difference(value, other[name], f"{prefix}{name}."):
                return found
        elif value != other[name]:
            return f"{prefix}{name}: {value!r}, not {other[name]!r}"
    return ""


def _print(calls: int, passed: float | None) -> None:
    print(json.dumps({"calls": calls, "passed": passed}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / _PLAN).exists():
        raise SystemExit("usage: python -m benchmarks.learning.training_run RUN (a folder made by learning.experiment)")
    play(Path(sys.argv[1]), _print)
