"""Stable-Baselines3 on the numeric form of ToolWorld: pass rates in text on held-out splits.

python -m benchmarks.learning.sb3 [--seeds 0 1 2]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time

from stable_baselines3.common.base_class import BaseAlgorithm

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, check, evaluate
from agents.evaluation.results import metrics_of, panel_of
from agents.reporting.console import EpisodeProgressBar, TrainingProgressBar
from agents.sb3.agent import random_candidates
from agents.sb3.config import SB3Settings
from agents.sb3.train import agent_of, train
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row

_SPLITS = ("depth-1", "depth-2")
_TASKS = {"depths": {"1": 1, "2": 1}, "unsolvable": 0}
_NOTES = (
    'trained as `steptool sb3 --env-args \'depths={"1": 1, "2": 1}\' unsolvable=0`, on split train; acting in text',
    "random-candidates draws any candidate with the same probability: the floor of the numeric form",
)


@dataclass(frozen=True)
class Options:
    """Train MaskablePPO on the numeric form and evaluate it.

    Example: python -m benchmarks.learning.sb3 --seeds 0 1 2
    """

    seeds: tuple[int, ...] = (0,)
    """Random seeds of training."""
    total_steps: int = SB3Settings.total_steps
    """Environment steps per training."""
    episodes: int = 100
    """Number of tasks per split."""


def run(options: Options) -> Result:
    """Train and evaluate."""
    evaluations = {s: Evaluation("StepTool/ToolWorld-v0", {"split": s}, options.episodes) for s in _SPLITS}
    for evaluation in evaluations.values():
        check(evaluation)
    rows = [
        _row(name, agent, split, evaluation, seconds)
        for name, agent, seconds in _agents(options)
        for split, evaluation in evaluations.items()
    ]
    return Result("sb3", "Stable-Baselines3 on the numeric form", {"Pass rates": rows}, _NOTES)


def _agents(options: Options) -> Iterator[tuple[str, Agent, float | None]]:
    """Yield the floor and every trained policy: name, agent, processor seconds of training."""
    yield "random-candidates", random_candidates(), None
    for seed in options.seeds:
        settings = SB3Settings(total_steps=options.total_steps, seed=seed, env_args=_TASKS)
        begin = process_time()
        model = _train(settings, f"seed {seed}")
        yield f"MaskablePPO, seed {seed}", agent_of(model), round(process_time() - begin, 1)


def _train(settings: SB3Settings, name: str) -> BaseAlgorithm:
    with TrainingProgressBar(name) as bar:

        def on_rollout(steps: int, mean: float) -> None:
            bar.report(min(steps, settings.total_steps), settings.total_steps, f"return {mean:.3f}")

        return train(settings, on_rollout)


def _row(name: str, agent: Agent, split: str, evaluation: Evaluation, seconds: float | None) -> Row:
    with EpisodeProgressBar(f"{name}, {split}") as bar:
        played = evaluate(evaluation, agent, bar.add, bar.expect)
    metrics = metrics_of(played)
    return {
        "agent": name,
        "split": split,
        "pass %": f"{100 * metrics['pass_rate']:.1f}",
        "calls": f"{metrics['calls']:.2f}",
        "processor seconds of training": seconds,
        "panel": panel_of(played),
    }


if __name__ == "__main__":
    run_command("learning.sb3", Options, run, ["stable-baselines3", "sb3-contrib"])
