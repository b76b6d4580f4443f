"""The training part of the demonstration: from one start, two policies with the same number of environment calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from agents.apprentice import read_apprentice
from agents.config import Algorithm, TrainConfig, read_config
from agents.environments import PeriodicEvaluation, make_envs
from agents.learner import Learner, build_learner
from agents.logging import MetricsLog, read_metrics
from agents.online import OnlineTrainer
from agents.training_progress import TrainingProgress

ARMS: tuple[Algorithm, ...] = ("steptool", "final")
_CONFIG, _APPRENTICE = files("agents") / "configs" / "demo.yaml", files("agents") / "configs" / "demo-sft.yaml"
_START = files("agents") / "checkpoints" / "nano-sft"


@dataclass(frozen=True)
class Arm:
    """One trained policy.

    Attributes:
        learner: The policy.
        curve: Metrics against environment calls: the records of `metrics.jsonl`, the start at 0 calls first.
        calls: Environment calls that the training took.
    """

    learner: Learner
    curve: list[dict[str, float]]
    calls: int


def ships_start() -> bool:
    """Whether the package comes with a starting policy."""
    return (_START / "state.json").is_file()


def starting_point(out: Path, from_scratch: bool) -> Path:
    """The checkpoint that both arms start from: the one that comes with the package, or the same made again."""
    with as_file(_START) as shipped:
        if ships_start() and not from_scratch:
            return shipped
    with as_file(_APPRENTICE) as path:
        apprentice = read_apprentice(path)
    with TrainingProgress("sft from scratch") as progress:

        def on_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
            progress.tell(step, total, f"loss {metrics['action_loss']:.3f}")

        apprentice.learn(apprentice.demonstrations(), out, on_step)
    return out


def task_arguments() -> dict[str, Any]:
    """Arguments of the environment that say what the tasks are like."""
    with as_file(_CONFIG) as path:
        return dict(read_config(path).env.args)


def demo_config(algo: Algorithm, start: Path, out: Path, tools: Mapping[str, Any], calls: int = 0) -> TrainConfig:
    """The settings of one arm.

    Args:
        algo: The algorithm; all else is the same for both.
        start: Checkpoint to start from.
        out: Folder for the log.
        tools: Arguments of the environment that say where the tools are.
        calls: Environment calls, in place of those of the file; 0 keeps those.
    """
    with as_file(_CONFIG) as path:
        config = read_config(path, {"algo": algo, "out": str(out)})
    args = {**config.env.args, **tools}
    policy = replace(config.policy, checkpoint=str(start))
    return replace(config, policy=policy, env=replace(config.env, args=args), calls=calls or config.calls)


def train_arm(config: TrainConfig) -> Arm:
    """Train one arm, showing pass rate and speed; its log is under `config.out`."""
    learner = build_learner(config.policy, seed=config.seed)
    log = MetricsLog(Path(config.out), tensorboard=False)
    with (
        closing(make_envs(config.env)) as envs,
        closing(make_envs(config.env, config.env.eval_args)) as held_out,
        closing(log),
        TrainingProgress(config.algo) as progress,
    ):
        evaluation = PeriodicEvaluation(held_out, learner, config.eval_episodes, config.sampling, config.seed)
        log.write(0, {"iteration": 0.0, **evaluation()})
        trainer = OnlineTrainer(config, learner, envs, evaluation=evaluation, log=log)

        def show(done: object, metrics: Mapping[str, float]) -> None:
            del done
            calls = trainer.progress.calls
            progress.tell_rollout(min(calls, config.calls), config.calls, calls, metrics)

        trainer.run(show)
    return Arm(learner, read_metrics(Path(config.out)), trainer.progress.calls)
