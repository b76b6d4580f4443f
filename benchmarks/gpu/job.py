"""Stage: the job in the time that is left: a start from demonstrations, then training on chains of three to five calls.

A `small` policy from scratch sees demonstrations of tasks of one to three calls, as the start of `steptool demo` does.
Two runs continue from it, each with half of the time: step rewards and the final reward. Held-out tasks of every depth
are played greedily at the start, in training and at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from agents.demo.arms import ARMS, CONFIG, chosen_settings, start_stages
from agents.evaluation.panels import GREEDY, PanelEvaluation, depth_panel, key
from agents.models.bundle import build_policy
from agents.models.checkpoint import Counters
from agents.models.smollm2 import NAME, smollm2_folder
from agents.rollout.curriculum import open_training_pool
from agents.training.config import TrainConfig, merged, read_config
from agents.training.sft import make_demonstrations, run_sft
from agents.training.sft_config import SFTRunConfig
from agents.training.trainer import OnlineTrainer
from steptool_env.types import Trajectory
from toolserver.children import worker_pool

if TYPE_CHECKING:
    from benchmarks.gpu.stage import Report

_DEPTHS = (3, 4, 5)
_REACHED = 50.0
"""Pass rate in percent at which a depth counts as reached."""
_WORKERS, _DEMONSTRATIONS = 8, 3000  # processes that make demonstrations, and demonstrations of each
_BETWEEN = 8.0  # seconds of training for each second of evaluation
_START_SHARE = 0.4  # of the stage's time, in which the start is trained
_RANK = 16  # of its adapters


def measure(report: Report) -> None:
    """Train the start, then each arm in an equal share of the rest of the time."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = folder / "start"
        _train_start(report, start)
        size = "nano" if report.tiny else "small"
        arms = {f"{size}, {arm}": (arm, {"checkpoint": str(start), "lora_rank": 0}) for arm in ARMS}
        with report.attempt("SmolLM2-135M with LoRA"):
            smollm2_folder()  # an error leaves the run out before the time is shared
            arms["SmolLM2-135M, LoRA, steptool"] = ("steptool", {"model": NAME, "lora_rank": _RANK})
        for number, (name, (arm, policy)) in enumerate(arms.items()):
            with report.attempt(name):
                _train_arm(report, name, arm, policy, folder / f"arm-{number}", report.left / (len(arms) - number))


def _train_start(report: Report, out: Path) -> None:
    """Train a policy from scratch on demonstrations and write its checkpoint."""
    begin, stage = monotonic(), start_stages()[0]
    until = begin + _START_SHARE * report.left
    workers, each = (1, 4) if report.tiny else (_WORKERS, _DEMONSTRATIONS)
    config = replace(
        stage,
        episodes=each,
        copying=0 if report.tiny else stage.copying,
        half=False,
        policy=replace(
            stage.policy,
            model="nano" if report.tiny else "small",
            checkpoint="nano-sft" if report.tiny else "",  # an untrained policy's actions are long
            context=1024,
            device=report.device,
            dtype="float32" if report.tiny else "mixed",
        ),
        sft=replace(stage.sft, epochs=1 if report.tiny else 2, optim=replace(stage.sft.optim, lr=1e-3)),
    )
    with _executor(workers) as run:
        parts = run(make_demonstrations, [replace(config, seed=config.seed + number) for number in range(workers)])
        demonstrations = [demonstration for part in parts for demonstration in part]
    made = monotonic()
    steps: list[int] = []
    loss = run_sft(config, demonstrations, out, lambda step, *_: steps.append(step), stop=lambda: monotonic() > until)
    report.add(
        "Start",
        {
            "demonstrations": len(demonstrations),
            "seconds to make them": made - begin,
            "steps": len(steps),
            "seconds": monotonic() - made,
            "loss, nats per token": loss,
        },
    )


Run = Callable[[Callable[[SFTRunConfig], list[Trajectory]], list[SFTRunConfig]], Any]


@contextmanager
def _executor(workers: int) -> Iterator[Run]:
    """Return a `map` over processes; of one worker over this process."""
    if workers == 1:
        yield map
        return
    pool: Executor
    with worker_pool(workers) as pool:
        yield pool.map


def _train_arm(report: Report, name: str, arm: str, policy: dict[str, Any], out: Path, seconds: float) -> None:
    """Train until the time of this arm is over, and report the held-out tasks that it solves on the way."""
    begin = monotonic()
    config = _arm_config(report, arm, policy, out)
    bundle = build_policy(config.policy, seed=config.seed)
    panels = [depth_panel(depth, 1 if report.tiny else 64) for depth in _DEPTHS]
    held_out = PanelEvaluation(panels, config.env, bundle, config.sampling, {GREEDY: 0.0})

    def evaluate(done: Counters, metrics: dict[str, float]) -> float:
        """Report the pass rates. Return the seconds that they took."""
        started = monotonic()
        rates = held_out()
        passed = {depth: 100 * rates[key(GREEDY, f"depth-{depth}", "pass_rate")] for depth in _DEPTHS}
        report.add(
            "Curves",
            {
                "run": name,
                "seconds": started - begin,
                "iterations": done.iteration,
                "calls": done.calls,
                "return": metrics.get("rollout/return"),
                **{f"depth {depth} %": rate for depth, rate in passed.items()},
                "depth reached": max((depth for depth, rate in passed.items() if rate >= _REACHED), default=0),
            },
        )
        return monotonic() - started

    with closing(open_training_pool(config.env)) as pool:
        trainer = OnlineTrainer(config, bundle, pool)
        last: dict[str, float] = {}
        spent, evaluated = evaluate(trainer.counters, last), monotonic()
        while not trainer.over and monotonic() - begin < seconds - spent:
            last = trainer.iterate()
            if monotonic() - evaluated > _BETWEEN * spent:
                spent, evaluated = evaluate(trainer.counters, last), monotonic()
        evaluate(trainer.counters, last)


def _arm_config(report: Report, arm: str, policy: dict[str, Any], out: Path) -> TrainConfig:
    """Return the settings of the demonstration's arm, on deeper chains, with larger iterations and all weights."""
    algo = ARMS[arm]
    episodes = 2 if report.tiny else 256
    settings: dict[str, Any] = {
        "algo": algo,
        "out": str(out),
        "calls": 1 if report.tiny else 10**9,
        "anneal": False,
        "episodes": episodes,
        "eval_every": 0,
        "policy": {"device": report.device, "dtype": "float32" if report.tiny else "mixed", **policy},
        "env": {"num_envs": episodes},
        **({"algorithm": {"group_size": 2}} if report.tiny and algo != "final" else {}),
        "optim": {"lr": 5e-4 if policy["lora_rank"] else 3e-4},
        "rollout": {"engine": "static"},
    }
    config = read_config(CONFIG, merged(chosen_settings(algo, algo), settings))
    depths = {str(depth): 1.0 for depth in _DEPTHS}
    return replace(config, env=replace(config.env, args={**config.env.args, "depths": depths}))
