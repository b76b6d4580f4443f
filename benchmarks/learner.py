"""The learner: trained tokens per second of a GRPO and of PPO updates, and peak memory, beside TRL's GRPO.

    python -m benchmarks.learner [--size small] [--device cuda]

TRL plays a batch of ToolWorld's episodes; then all train on exactly these tokens, in the same precision, with one
optimiser step. A trained token is one that the policy sampled: prompts and answers of tools are read, not learnt. An
update counts whole: what is prepared for it (values, advantages), forward, backward, clipping, AdamW. TRL has no PPO.
They take turns, each in a process of its own, because peak memory is the process's.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
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
from benchmarks.command import run_command
from benchmarks.gold import GoldEnvs, Workload, make_workload
from benchmarks.peers.trl import TrlPlayer
from benchmarks.report import RESULTS, Result, Row, origin, publish
from benchmarks.rollout import collect
from benchmarks.sampling import chat_learner
from benchmarks.timing import Lap, Pace, race

OURS_GRPO, TRL_GRPO = "ours, GRPO", "TRL, GRPO"

_ACTION_TOKENS = 48
_CRITIC_EPOCHS = 10  # of the demonstration and of the learning experiment
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


class Update(NamedTuple):
    """One contestant, ready to run.

    Attributes:
        run: One update; returns the trained tokens.
        tokens: All tokens of the batch, those of prompts and answers included.
        parameters: Of the model.
        megabytes: Peak memory before the first update.
    """

    run: Callable[[], int]
    tokens: int
    parameters: int
    megabytes: float


def run(options: Options) -> Result:
    """Measure every contestant that there is, in turns, each in its process."""
    started = origin(["trl", "accelerate"])
    notes = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pools: dict[str, ProcessPoolExecutor] = {}
        for name in CONTESTANTS:
            pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            try:
                pool.submit(_prepare, name, options, folder).result()
                pools[name] = pool
            except ImportError as error:
                notes.append(f"{name} was not measured: {error}.")
        laps = race({name: partial(_remote_lap, pool) for name, pool in pools.items()}, options.rounds)
        facts = {name: pool.submit(_facts).result() for name, pool in pools.items()}
    return Result("learner", "One update", {"Updates": _rows(laps, facts, options)}, started, notes)


_READY: list[tuple[Update, Options]] = []
"""The contestant of a process, once `_prepare` has run in it."""


def _prepare(name: str, options: Options, folder: str) -> None:
    _READY.append((CONTESTANTS[name](options, folder), options))


def _lap() -> Lap:
    ((update, options),) = _READY
    begin = perf_counter()
    trained = update.run()
    _wait(options)
    return Lap(trained, perf_counter() - begin)


def _remote_lap(pool: ProcessPoolExecutor) -> Lap:
    return pool.submit(_lap).result()


def _facts() -> tuple[int, int, float]:
    """Tokens of the batch, parameters of the model, and what the updates added to the peak memory."""
    ((update, options),) = _READY
    return update.tokens, update.parameters, _peak(options) - update.megabytes


def our_update(options: Options, value_trunk: ValueTrunk, critic_epochs: int = 0) -> Update:
    """Our update on a batch of episodes that are played first: PPO with this critic, or GRPO, which has none."""
    workload, learner = _prepared(options, value_trunk)
    groups = value_trunk == "none"
    sampling = Sampling(max_action_tokens=_ACTION_TOKENS)
    generator = Generator(learner.policy, context=learner.context, stop_id=learner.codec.stop_id, sampling=sampling)
    envs = GoldEnvs(workload, len(workload.scripts))
    episodes = _rewarded(collect(Collector(envs, generator, learner.codec), workload).episodes)
    settings = {
        "algo": "grpo" if groups else "steptool",
        "episodes": len(episodes),
        "policy": {"value_trunk": value_trunk},
        "algorithm": {
            "epochs": 1,
            "mini_batches": 1,
            "critic_epochs": critic_epochs,
            "group_size": workload.copies if groups else 1,
        },
    }
    trainer = OnlineTrainer(make_config(settings), learner, envs)
    trained = sum(episode.action_tokens for episode in episodes)

    def update() -> int:
        trainer.update(episodes)
        return trained

    return _ready(update, sum(len(episode.ids) for episode in episodes), learner, options)


def trl_update(options: Options, folder: str) -> Update:
    """TRL's update on a batch that it has played; `folder` is its own. Raises `ImportError` without TRL."""
    workload, learner = _prepared(options, "none")
    player = TrlPlayer(learner, workload, _ACTION_TOKENS, folder)
    _, batch = player.play()
    tokens = int(batch["prompt_mask"].sum() + batch["completion_mask"].sum())
    return _ready(lambda: player.update(batch).units, tokens, learner, options)


CONTESTANTS: Mapping[str, Callable[[Options, str], Update]] = {
    OURS_GRPO: lambda options, _: our_update(options, "none"),
    "ours, PPO, critic apart": lambda options, _: our_update(options, "apart"),
    "ours, PPO, critic detached": lambda options, _: our_update(options, "detached"),
    f"ours, PPO, critic detached and fitted {_CRITIC_EPOCHS} times": lambda options, _: our_update(
        options, "detached", _CRITIC_EPOCHS
    ),
    TRL_GRPO: trl_update,
}
"""What each contestant's name stands for. `docs/algorithms.md` says what the critics are."""


def _prepared(options: Options, value_trunk: ValueTrunk) -> tuple[Workload, Learner]:
    workload = make_workload(options.batch, _TURNS)
    return workload, chat_learner(workload.texts(), options.size, options.device, value_trunk)


def _rewarded(episodes: list[Episode]) -> list[Episode]:
    """The episodes with rewards that differ within groups, so that each has something to teach."""
    return [
        replace(episode, rewards=(*episode.rewards[:-1], episode.rewards[-1] + number % 2))
        for number, episode in enumerate(episodes)
    ]


def _ready(update: Callable[[], int], tokens: int, learner: Learner, options: Options) -> Update:
    parameters = sum(weight.numel() for weight in learner.policy.language_model.parameters())
    return Update(update, tokens, parameters, _peak(options))


def _peak(options: Options) -> float:
    """Megabytes: of the device where there is one, else of this process."""
    if options.device != "cpu":
        return torch.cuda.max_memory_allocated(options.device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _wait(options: Options) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize(options.device)


def _rows(
    laps: Mapping[str, Sequence[Lap]], facts: Mapping[str, tuple[int, int, float]], options: Options
) -> list[Row]:
    paces = {name: Pace.of(own) for name, own in laps.items()}
    rows: list[Row] = []
    for name, pace in paces.items():
        tokens, parameters, megabytes = facts[name]
        whole = pace.rate * tokens / laps[name][0].units
        row: dict[str, str | int | float | None] = {
            "update": name,
            "trained tokens/s": pace.rate,
            "slowest": pace.slowest,
            "all tokens/s": whole,
            "peak memory, MB more": megabytes,
            "x TRL": pace.rate / paces[TRL_GRPO].rate if TRL_GRPO in paces else None,
        }
        if options.peak_tflops:
            # Six operations per weight and token, forward and backward (Kaplan et al. 2020); attention apart.
            row["MFU %"] = 100 * 6 * parameters * whole / (options.peak_tflops * 1e12)
        rows.append(row)
    return rows


def main(options: Options) -> None:
    """Measure, print and write."""
    publish(run(options), options.out)


if __name__ == "__main__":
    run_command("learner", Options, main)
