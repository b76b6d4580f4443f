"""One run of the learning experiment: train from the common start, evaluate at planned points, write a result.

    python -m benchmarks.learning.training_run FOLDER

`FOLDER/plan.json` is the plan. The run writes `metrics.jsonl`, and `result.json` at the end. Repeated, it resumes from
its newest checkpoint and gives the same numbers as an uninterrupted run; with a result, it does nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from agents.errors import ConfigurationError
from agents.evaluation.learning_curve import PolicyEvaluation, evaluation_of
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle, build_policy
from agents.rollout.curriculum import open_training_pool
from agents.training.config import TrainConfig, checked
from agents.training.metrics_log import MetricsLog, read_metrics
from agents.training.trainer import OnlineTrainer

DEPTHS = (1, 2, 3)
OnProgress = Callable[[int, float | None], None]
"""Callback with the calls so far and, after an evaluation, the mean pass rate over the depths."""

_EVALUATION_SEED = 0  # the same tasks, in the same order, for every arm and seed
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
        origin: Command, commit, machine and versions (`benchmarks.harness.report.origin`) of the experiment.
    """

    arm: str
    seed: int
    points: int
    start: str
    config: TrainConfig
    origin: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(self.config.out)

    @property
    def marks(self) -> list[int]:
        """Numbers of calls at which the policy is evaluated, the last at the end; empty if only the start is."""
        return [round(self.config.calls * point / self.points) for point in range(1, self.points + 1)]

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
    return Plan(**{**found, "config": checked(TrainConfig, found["config"])})


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read the result of a run: its plan, `curve` (one record per evaluation), `seconds`; `None` if unfinished."""
    path = folder / _RESULT
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def play(folder: Path, on_progress: OnProgress) -> None:
    """Do the run of a folder, unless it is finished. Uses one thread, so that runs can be concurrent."""
    if read_result(folder) is not None:
        return
    torch.set_num_threads(1)
    plan = read_plan(folder)
    learner = build_policy(plan.config.policy, seed=plan.config.seed)
    evaluate = held_out(learner, plan.config)
    if plan.points:
        _train(plan, learner, evaluate, on_progress)
        curve = [record for record in read_metrics(folder) if _key(DEPTHS[0], "is_solved") in record]
    else:
        curve = [{"calls": 0, **evaluate()}]
        on_progress(0, mean_pass(curve[0]))
    _write(plan, curve)


def held_out(learner: PolicyBundle, config: TrainConfig) -> Callable[[], dict[str, float]]:
    """Return an evaluation of the learner's current weights: `eval/depth-<d>/<metric>` on the test tasks of each depth.

    Actions are sampled as in training.
    """
    evaluations = {
        depth: PolicyEvaluation(
            evaluation_of(config.env, {"split": f"depth-{depth}"}, config.eval_episodes, _EVALUATION_SEED),
            learner,
            config.sampling,
        )
        for depth in DEPTHS
    }

    def evaluate() -> dict[str, float]:
        return {
            _key(depth, name.removeprefix("eval/")): value
            for depth, evaluation in evaluations.items()
            for name, value in evaluation().items()
        }

    return evaluate


def mean_pass(record: Mapping[str, float]) -> float:
    """Return the mean pass rate of an evaluation over the depths."""
    return sum(record[_key(depth, "is_solved")] for depth in DEPTHS) / len(DEPTHS)


def measured(record: Mapping[str, float], depth: int, name: str) -> float:
    """Return a metric of an evaluation at one depth."""
    return record[_key(depth, name)]


def _key(depth: int, name: str) -> str:
    return f"eval/depth-{depth}/{name}"


def _train(
    plan: Plan, learner: PolicyBundle, evaluate: Callable[[], dict[str, float]], on_progress: OnProgress
) -> None:
    """Train to the end, with a checkpoint at each evaluation; keep the newest."""
    found = checkpoint.newest(plan.folder)
    keep = checkpoint.load_progress(found).iteration if found else None
    with (
        closing(open_training_pool(plan.config.env)) as pool,
        closing(MetricsLog(plan.folder, tensorboard=False, keep_until=keep)) as log,
    ):
        trainer = OnlineTrainer(plan.config, learner, pool)
        if found is not None:
            trainer.resume(found)
        while not trainer.over:
            begin, before = perf_counter(), trainer.progress.calls
            metrics = trainer.iterate()
            calls = trainer.progress.calls
            due = any(before < mark <= calls for mark in plan.marks)
            metrics |= evaluate() if due else {}
            log.write(calls, metrics | {"time/whole_seconds": perf_counter() - begin})
            on_progress(calls, mean_pass(metrics) if due else None)
            if due:
                trainer.save(plan.folder / f"checkpoint-{trainer.progress.iteration}")


def _write(plan: Plan, curve: list[dict[str, float]]) -> None:
    """Write the result atomically, then remove the checkpoint."""
    log = read_metrics(plan.folder) if plan.points else []
    seconds = sum(record["time/whole_seconds"] for record in log)
    partial = plan.folder / f".{_RESULT}"
    content = {**asdict(plan), "seconds": seconds, "curve": curve}
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(plan.folder / _RESULT)
    for path in plan.folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def _identity(plan: Plan) -> dict[str, Any]:
    """Return the settings that must be equal to resume a run. The starting checkpoint is identified by its digest."""
    policy = replace(plan.config.policy, checkpoint="")
    return {**asdict(replace(plan, config=replace(plan.config, policy=policy, out=""))), "origin": None}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> str:
    """Return the first differing setting with both values; empty if there is none."""
    for key, value in one.items():
        if isinstance(value, Mapping) and isinstance(other[key], Mapping) and value.keys() == other[key].keys():
            if found := _difference(value, other[key], f"{prefix}{key}."):
                return found
        elif value != other[key]:
            return f"{prefix}{key}: {value!r}, not {other[key]!r}"
    return ""


def _print(calls: int, passed: float | None) -> None:
    print(json.dumps({"calls": calls, "passed": passed}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / _PLAN).exists():
        raise SystemExit("usage: python -m benchmarks.learning.training_run RUN (a folder made by learning.experiment)")
    play(Path(sys.argv[1]), _print)
