"""Training runs of the demonstration: policies from one start with the same number of environment calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from agents.demo.progress import DemoProgress
from agents.models.checkpoint import resolve_checkpoint
from agents.reporting.console import TrainingProgressBar
from agents.training.config import ALGORITHMS, Algorithm, TrainConfig, merged, read_config, read_yaml
from agents.training.sft import make_demonstrations, run_sft
from agents.training.sft_config import SFTRunConfig, read_sft_config
from agents.training.subprocess_run import TrainingProcess

ARMS: Mapping[str, Algorithm] = {"steptool": "steptool", "final": "final"}
"""Algorithm of each arm: step-grained PPO with a reward for every step, and with the final reward alone."""
_CONFIGS = Path(str(files("agents.demo") / "configs"))
CONFIG = _CONFIGS / "demo.yaml"
"""Settings that all arms share, the tasks among them."""
POINTS = 3
"""Number of evaluations of a policy in training, evenly spaced over its calls; the last one is that of the table."""

_STAGES = (_CONFIGS / "demo-sft.yaml", _CONFIGS / "demo-sft-2.yaml")
_CHOSEN = _CONFIGS / "arms.yaml"
_POLL_SECONDS = 0.5


@cache
def _read(file: Path) -> dict[str, Any]:
    return read_yaml(file)


def chosen_settings(arm: str, algo: Algorithm, file: Path = _CHOSEN) -> dict[str, Any]:
    """Return the settings of an arm that differ from `CONFIG`.

    `algo` is its algorithm, which may need no critic; `file` holds the chosen settings by arm.
    """
    critic = ALGORITHMS[algo].get("policy", {}).get("critic")
    without_critic = {"policy": {"critic": "none"}, "critic_warmup": 0} if critic == "none" else {}
    return merged(without_critic, _read(file).get(arm, {}))


def start_stages() -> list[SFTRunConfig]:
    """Return the settings of the fine-tunings that make the starting policy, in order."""
    return [read_sft_config(stage) for stage in _STAGES]


def starting_point(out: Path, from_scratch: bool) -> Path:
    """Return the checkpoint that both arms start from: the shipped one, or one trained by the same stages."""
    if not from_scratch:
        return resolve_checkpoint("nano-sft")
    checkpoint = ""
    for number, stage in enumerate(start_stages(), 1):
        config = replace(stage, policy=replace(stage.policy, checkpoint=checkpoint))
        checkpoint = str(_train_stage(config, out / f"stage-{number}"))
    return Path(checkpoint)


def _train_stage(config: SFTRunConfig, out: Path) -> Path:
    """Train one stage of the starting policy from the checkpoint of the stage before (empty for the first)."""
    shown = make_demonstrations(config)
    with TrainingProgressBar(out.name) as progress:

        def on_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
            progress.report(step, total, f"loss {metrics['loss']:.3f}")

        run_sft(config, shown, out, on_step)
    return out


def demo_config(
    arm: str,
    start: Path,
    out: Path,
    tools: Mapping[str, Any],
    *,
    calls: int = 0,
    seed: int = 0,
    episodes: int = TrainConfig.eval_episodes,
) -> TrainConfig:
    """Return the settings of one arm.

    `tools` are the arguments of the environment that name the tool server; 0 `calls` takes those of the file;
    `episodes` is the number of held-out tasks of each depth.
    """
    algo = ARMS[arm]
    own = {"algo": algo, "out": str(out), "seed": seed, "eval_every": 0, "eval_episodes": episodes}
    config = read_config(CONFIG, merged(chosen_settings(algo, algo), {**own, "policy": {"checkpoint": str(start)}}))
    args = {**config.env.args, **tools}
    return replace(config, env=replace(config.env, args=args), calls=calls or config.calls)


def train_arms(configs: Mapping[str, TrainConfig], progress: DemoProgress) -> dict[str, TrainingProcess]:
    """Train all arms at the same time, one process each. Return the finished processes by arm.

    Raises:
        TrainingError: A run failed.
    """
    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(TrainingProcess(config, "agents.demo.arm_run"))
            for name, config in configs.items()
        }
        for name, config in configs.items():
            progress.begin_phase(name, config.calls)
        waiting, reported = dict(runs), dict.fromkeys(runs, 0)
        while waiting:
            for name, run in list(waiting.items()):
                if run.over(_POLL_SECONDS):
                    del waiting[name]
                records = run.metrics()
                for record in records[reported[name] :]:
                    progress.train(name, run.config.calls, record)
                reported[name] = len(records)
        return runs
