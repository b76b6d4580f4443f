"""The learner: trained tokens per second of one GRPO and one PPO update, and peak memory, beside TRL's GRPO.

    python -m benchmarks.learner [--size small] [--device cuda]

TRL plays a batch of ToolWorld's episodes; then all train on exactly these tokens, in the same precision, with one
optimiser step. A trained token is one that the policy sampled: prompts and answers of tools are read, not learnt. An
update counts whole: what is prepared for it (values, advantages), forward, backward, clipping, AdamW. TRL has no PPO.
Each contestant is measured in a process of its own, because peak memory is the process's.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, NamedTuple

import torch
import tyro

from agents.batch import Episode
from agents.config import make_config
from agents.generation import Generator, Sampling
from agents.learner import Learner
from agents.model import Size
from agents.online import OnlineTrainer
from agents.policy import ValueTrunk
from agents.rollout import Collector
from benchmarks.gold import GoldEnvs, Workload, make_workload
from benchmarks.peers.trl import trl_player
from benchmarks.report import RESULTS, Result, Row, origin, publish
from benchmarks.rollout import collect
from benchmarks.sampling import chat_learner
from benchmarks.timing import Lap

OURS_GRPO, OURS_PPO, TRL_GRPO = "ours, GRPO", "ours, PPO with a critic of its own", "TRL, GRPO"

_ACTION_TOKENS = 48
_TURNS = 4


@dataclass(frozen=True)
class Options:
    """Measure updates. Example: python -m benchmarks.learner --quick."""

    quick: bool = False
    """Few episodes and rounds."""
    size: Size = "nano"
    """Of the model."""
    device: str = "cpu"
    """Where the model is."""
    episodes: int = 32
    """Episodes of the batch."""
    peak_tflops: float = 0.0
    """What the device can do, to give the share of it that is used (MFU); 0 leaves it out."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = RESULTS
    """Folder for the result files."""

    @property
    def batch(self) -> int:
        """Episodes of the batch in this run."""
        return 8 if self.quick else self.episodes

    @property
    def rounds(self) -> int:
        """Updates that count."""
        return 2 if self.quick else 7


class Measured(NamedTuple):
    """What one contestant's process found.

    Attributes:
        laps: Trained tokens and seconds of each update.
        tokens: All tokens of the batch, those of prompts and answers included.
        parameters: Of the model.
        megabytes: What the updates added to the peak memory.
    """

    laps: list[Lap]
    tokens: int
    parameters: int
    megabytes: float


def run(options: Options) -> Result:
    """Measure every contestant that there is."""
    started = origin(["trl", "accelerate"])
    notes, found = [], {}
    for name, measure in CONTESTANTS.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            try:
                found[name] = fresh.submit(measure, options).result()
            except ImportError as error:
                notes.append(f"{name} was not measured: {error}.")
    return Result("learner", "One update", {"Updates": _rows(found, options)}, started, notes)


def measure_ours(algo: str, options: Options) -> Measured:
    """Our update on a batch of episodes that are played first."""
    workload, learner = _prepared(options, "apart" if algo == "steptool" else "none")
    sampling = Sampling(max_action_tokens=_ACTION_TOKENS)
    generator = Generator(learner.policy, context=learner.context, stop_id=learner.codec.stop_id, sampling=sampling)
    envs = GoldEnvs(workload, len(workload.scripts))
    episodes = _rewarded(collect(Collector(envs, generator, learner.codec), workload).episodes)
    settings = {
        "algo": algo,
        "episodes": len(episodes),
        "algorithm": {"epochs": 1, "mini_batches": 1, "group_size": 1 if algo == "steptool" else workload.copies},
    }
    trainer = OnlineTrainer(make_config(settings), learner, envs)
    trained = sum(episode.action_tokens for episode in episodes)

    def update() -> Lap:
        begin = perf_counter()
        trainer.update(episodes)
        _wait(options)
        return Lap(trained, perf_counter() - begin)

    return _measured(update, sum(len(episode.ids) for episode in episodes), learner, options)


def measure_trl(options: Options) -> Measured:
    """TRL's update on a batch that it has played. Raises `ImportError` where it is not installed."""
    workload, learner = _prepared(options, "none")
    with trl_player(learner, workload, _ACTION_TOKENS) as player:
        _, batch = player.play()
        tokens = int(batch["prompt_mask"].sum() + batch["completion_mask"].sum())

        def update() -> Lap:
            begin = perf_counter()
            lap = player.update(batch)
            _wait(options)
            return Lap(lap.units, perf_counter() - begin)

        return _measured(update, tokens, learner, options)


CONTESTANTS: Mapping[str, Callable[[Options], Measured]] = {
    OURS_GRPO: partial(measure_ours, "grpo"),
    OURS_PPO: partial(measure_ours, "steptool"),
    TRL_GRPO: measure_trl,
}


def _prepared(options: Options, value_trunk: ValueTrunk) -> tuple[Workload, Learner]:
    workload = make_workload(options.batch, _TURNS)
    return workload, chat_learner(workload.texts(), options.size, options.device, value_trunk)


def _rewarded(episodes: list[Episode]) -> list[Episode]:
    """The episodes with rewards that differ within groups, so that each has something to teach."""
    return [
        replace(episode, rewards=(*episode.rewards[:-1], episode.rewards[-1] + number % 2))
        for number, episode in enumerate(episodes)
    ]


def _measured(update: Callable[[], Lap], tokens: int, learner: Learner, options: Options) -> Measured:
    before = _peak(options)
    update()  # the optimiser's state is made at the first
    laps = [update() for _ in range(options.rounds)]
    parameters = sum(weight.numel() for weight in learner.policy.language_model.parameters())
    return Measured(laps, tokens, parameters, _peak(options) - before)


def _peak(options: Options) -> float:
    """Megabytes: of the device where there is one, else of this process."""
    if options.device != "cpu":
        return torch.cuda.max_memory_allocated(options.device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _wait(options: Options) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize(options.device)


def _rows(found: Mapping[str, Measured], options: Options) -> list[Row]:
    rows: list[Row] = []
    rates = {name: median(lap.rate for lap in each.laps) for name, each in found.items()}
    for name, each in found.items():
        seconds = median(lap.seconds for lap in each.laps)
        row: dict[str, str | int | float | None] = {
            "update": name,
            "trained tokens/s": rates[name],
            "all tokens/s": each.tokens / seconds,
            "slowest": min(lap.rate for lap in each.laps),
            "peak memory, MB more": each.megabytes,
            "x TRL": rates[name] / rates[TRL_GRPO] if TRL_GRPO in rates else None,
        }
        if options.peak_tflops:
            # Six operations per weight and token, forward and backward (Kaplan et al. 2020); attention apart.
            row["MFU %"] = 100 * 6 * each.parameters * each.tokens / seconds / (options.peak_tflops * 1e12)
        rows.append(row)
    return rows


def main(options: Options) -> None:
    """Measure, print and write."""
    publish(run(options), options.out)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.learner", description=Options.__doc__))
