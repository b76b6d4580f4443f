"""Training runs of the demonstration: two policies from one start with the same number of environment calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from agents.models.bundle import PolicyBundle, load_policy
from agents.models.checkpoint import resolve_checkpoint
from agents.reporting.console import TrainingProgress
from agents.training.config import Algorithm, TrainConfig, read_config
from agents.training.sft import make_demonstrations, run_sft
from agents.training.sft_config import read_sft_config
from agents.training.subprocess_run import TrainingProcess

ARMS: tuple[Algorithm, ...] = ("steptool", "final")
_CONFIG = files("agents.demo") / "configs" / "demo.yaml"
_STAGES = (files("agents.demo") / "configs" / "demo-sft.yaml", files("agents.demo") / "configs" / "demo-sft-2.yaml")
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Arm:
    """One trained policy, its records of `metrics.jsonl` from the start at 0 calls on, and its environment calls."""

    learner: PolicyBundle
    curve: list[dict[str, float]]
    calls: int


def starting_point(out: Path, from_scratch: bool) -> Path:
    """Return the checkpoint that both arms start from: the shipped one, or one trained by the same stages."""
    if not from_scratch:
        return resolve_checkpoint("nano-sft")
    checkpoint = ""
    for number, stage in enumerate(_STAGES, 1):
        checkpoint = str(_train_stage(stage, checkpoint, out / f"stage-{number}"))
    return Path(checkpoint)


def _train_stage(stage: Traversable, checkpoint: str, out: Path) -> Path:
    """Train one stage of the starting policy from the checkpoint of the stage before (empty for the first)."""
    with as_file(stage) as path:
        read = read_sft_config(path)
    config = replace(read, policy=replace(read.policy, checkpoint=checkpoint))
    shown = make_demonstrations(config)
    with TrainingProgress(out.name) as progress:

        def on_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
            progress.report(step, total, f"loss {metrics['loss']:.3f}")

        run_sft(config, shown, out, on_step)
    return out


def task_arguments() -> dict[str, Any]:
    """Return the arguments of the environment that define the tasks."""
    with as_file(_CONFIG) as path:
        return dict(read_config(path).env.args)


def demo_config(algo: Algorithm, start: Path, out: Path, tools: Mapping[str, Any], calls: int = 0) -> TrainConfig:
    """Return the settings of one arm; all but `algo`, and the output folder, are the same for both.

    `tools` are the arguments of the environment that name the tool server; 0 `calls` takes those of the file.
    """
    with as_file(_CONFIG) as path:
        config = read_config(path, {"algo": algo, "out": str(out)})
    args = {**config.env.args, **tools}
    policy = replace(config.policy, checkpoint=str(start))
    return replace(config, policy=policy, env=replace(config.env, args=args), calls=calls or config.calls)


def train_arms(configs: Mapping[str, TrainConfig]) -> dict[str, Arm]:
    """Train all arms at the same time, one process each, and show pass rate and speed.

    Raises:
        TrainingError: A run failed.
    """
    with ExitStack() as stack:
        progress = stack.enter_context(TrainingProgress(*configs))
        runs = {name: stack.enter_context(TrainingProcess(config)) for name, config in configs.items()}
        waiting, reported = dict(runs), dict.fromkeys(runs, 0)
        while waiting:
            for name, run in list(waiting.items()):
                if run.over(_POLL_SECONDS):
                    del waiting[name]
                records = run.metrics()
                for record in records[reported[name] :]:
                    progress.report_rollout(name, int(record["calls"]), run.config.calls, record)
                reported[name] = len(records)
        return {name: _arm(run) for name, run in runs.items()}


def _arm(run: TrainingProcess) -> Arm:
    curve = run.metrics()
    return Arm(load_policy(run.checkpoint), curve, int(curve[-1]["calls"]))
