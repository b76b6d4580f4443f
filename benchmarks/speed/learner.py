"""The learner: trained tokens per second of a GRPO and of PPO updates, and peak memory, beside TRL's GRPO.

    python -m benchmarks.speed.learner [--size small] [--device cuda]

All contestants train on the token ids of one batch of ToolWorld's episodes, in the same precision, in the same
micro-batches (rows of similar length), with one optimizer step. Each runs with small micro-batches and with the whole
batch at once; `x TRL` compares equal micro-batches, `x best TRL` compares with the faster of TRL's. Trained tokens are
the sampled ones, without prompts and tools' answers. The time is that of a whole update: values, advantages,
forward, backward, clipping, AdamW. TRL has no PPO. Contestants take turns, each in its own process, because peak memory
is measured per process.
"""

import pickle
import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple

import torch

from agents.models.bundle import PolicyBundle
from agents.models.config import CriticKind
from agents.models.decoder import Size
from agents.rollout.config import EnvConfig, Sampling
from agents.rollout.episode_pool import open_pool
from agents.rollout.policy_agent import make_sampler
from agents.rollout.types import TokenEpisode
from agents.training.batch import split_by_length
from agents.training.config import make_config
from agents.training.optimizer import CRITIC_EPOCHS
from agents.training.trainer import OnlineTrainer
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import Lap, Pace, race
from benchmarks.harness.workload import ENV_ID, ScriptedPool, make_workload, play_workload
from benchmarks.peers.trl import TrlLearner
from benchmarks.speed.sampling import chat_bundle
from toolserver.children import worker_pool

OURS_GRPO, TRL_GRPO = "ours, GRPO", "TRL, GRPO"

Contestant = tuple[str, int]
"""Name of an update, and the padded tokens of its pieces."""

_ACTION_TOKENS = 48
_TURNS = 4
_PIECES = (2048, 65536)
"""Padded tokens of one forward and backward pass: one that fits a CPU's caches, and the whole batch."""


@dataclass(frozen=True)
class Options:
    """Measure updates. Example: python -m benchmarks.speed.learner --quick."""

    quick: bool = False
    """Few episodes and rounds."""
    size: Size = "nano"
    """Size of the model."""
    device: str = "cpu"
    """Device of the model."""
    episodes: int = 32
    """Episodes of the batch."""
    copies: int = 2
    """Episodes per task, the group of GRPO; a divisor of the number of episodes."""
    dtype: Literal["float32", "mixed"] = "float32"
    """Precision of all contestants; `mixed` multiplies float32 weights in bfloat16."""
    peak_tflops: float = 0.0
    """Peak TFLOP/s of the device, to report the share in use (MFU); 0 omits it."""


class Update(NamedTuple):
    """One contestant, ready to run.

    Attributes:
        run: One update; returns the trained tokens.
        tokens: All tokens of the batch, those of prompts and answers included.
        parameters: Number of parameters of the model.
        megabytes: Peak memory before the first update.
    """

    run: Callable[[], int]
    tokens: int
    parameters: int
    megabytes: float

    def added_megabytes(self, options: Options) -> float:
        """Return the peak memory that the updates have added so far."""
        return _peak(options) - self.megabytes


def run(options: Options) -> Result:
    """Measure the available contestants in turns, each in its own process."""
    notes = []
    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "episodes.pickle"
        with worker_pool(1) as player:
            player.submit(_play, options, file).result()
        pools: dict[Contestant, ProcessPoolExecutor] = {}
        for name in UPDATES:
            for pieces in _PIECES:
                pool = stack.enter_context(worker_pool(1))
                try:
                    pool.submit(_prepare, name, options, file, pieces).result()
                    pools[name, pieces] = pool
                except ImportError as error:
                    notes.append(f"{name} was not measured: {error}.")
                    break
        contestants = {name: partial(_remote_lap, pool) for name, pool in pools.items()}
        laps = race(contestants, rounds=2 if options.quick else 7)
        facts = {name: pool.submit(_facts).result() for name, pool in pools.items()}
    return Result("learner", "One update", {"Updates": _rows(laps, facts, options)}, notes)


_READY: list[tuple[Update, Options]] = []
"""The contestant of a process, after `_prepare`."""


def _play(options: Options, file: Path) -> None:
    file.write_bytes(pickle.dumps(play_batch(options)))


def play_batch(options: Options) -> tuple[list[str], list[TokenEpisode]]:
    """Play the batch; rewards differ within groups, so that every episode has an advantage.

    Returns the texts of which the tokenizer is trained, and the episodes.
    """
    workload = make_workload(8 if options.quick else options.episodes, _TURNS, options.copies)
    bundle = chat_bundle(workload.texts(), options.size, options.device, "none")
    sampling = Sampling(max_action_tokens=_ACTION_TOKENS)
    generator = make_sampler(bundle, sampling)
    pool = ScriptedPool(workload, len(workload.scripts))
    episodes = [
        replace(episode, rewards=(*episode.rewards[:-1], episode.rewards[-1] + number % options.copies))
        for number, episode in enumerate(play_workload(workload, pool, generator, bundle.codec).episodes)
    ]
    pool.close()
    return workload.texts(), episodes


def _prepare(name: str, options: Options, file: Path, pieces: int) -> None:
    texts, episodes = pickle.loads(file.read_bytes())  # noqa: S301  # written by `_play` of this run
    _READY.append((UPDATES[name](options, texts, episodes, pieces), options))


def _lap() -> Lap:
    ((update, options),) = _READY
    begin = perf_counter()
    trained = update.run()
    _wait(options)
    return Lap(trained, perf_counter() - begin)


def _remote_lap(pool: ProcessPoolExecutor) -> Lap:
    return pool.submit(_lap).result()


def _facts() -> tuple[int, int, float]:
    """Tokens of the batch, parameters of the model, and peak memory added by the updates, in megabytes."""
    ((update, options),) = _READY
    return update.tokens, update.parameters, update.added_megabytes(options)


def our_update(
    critic: CriticKind, options: Options, texts: Sequence[str], episodes: Sequence[TokenEpisode], pieces: int
) -> Update:
    """Our update on a batch of episodes: PPO with a critic, or GRPO without."""
    bundle = chat_bundle(texts, options.size, options.device, critic, autocast=options.dtype == "mixed")
    groups = critic == "none"
    settings = {
        "algo": "grpo" if groups else "steptool",
        "episodes": len(episodes),
        "policy": {"critic": critic},
        "optim": {"max_tokens": pieces},
        "algorithm": {"epochs": 1, "mini_batches": 1, "group_size": options.copies if groups else 1},
    }
    trainer = OnlineTrainer(make_config(settings), bundle, open_pool(EnvConfig(ENV_ID, num_envs=1)))
    trained = sum(episode.action_tokens for episode in episodes)

    def update() -> int:
        trainer.update(list(episodes))
        return trained

    return _ready(update, episodes, bundle, options)


def trl_update(options: Options, texts: Sequence[str], episodes: Sequence[TokenEpisode], pieces: int) -> Update:
    """TRL's update on the same episodes, in the same micro-batches. Raise `ImportError` without TRL."""
    bundle = chat_bundle(texts, options.size, options.device, "none", autocast=options.dtype == "mixed")
    parts = list(split_by_length([len(episode.ids) for episode in episodes], pieces))
    trl = TrlLearner(bundle, [[episodes[row] for row in part] for part in parts], options.copies)
    return _ready(trl.update, episodes, bundle, options)


UPDATES: Mapping[str, Callable[[Options, Sequence[str], Sequence[TokenEpisode], int], Update]] = {
    OURS_GRPO: partial(our_update, "none"),
    "ours, PPO, critic separate": partial(our_update, "separate"),
    "ours, PPO, critic shared": partial(our_update, "shared"),
    f"ours, PPO, critic detached and fitted {CRITIC_EPOCHS} times": partial(our_update, "detached"),
    TRL_GRPO: trl_update,
}
"""Updates by name; `docs/algorithms.md` describes the critics."""


def _ready(
    update: Callable[[], int], episodes: Sequence[TokenEpisode], bundle: PolicyBundle, options: Options
) -> Update:
    tokens = sum(len(episode.ids) for episode in episodes)
    parameters = sum(weight.numel() for weight in bundle.policy.language_model.parameters())
    return Update(update, tokens, parameters, _peak(options))


def _peak(options: Options) -> float:
    """Megabytes: of the device where there is one, else of this process."""
    if options.device != "cpu":
        return torch.cuda.max_memory_allocated(options.device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _wait(options: Options) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize(options.device)


def mfu(parameters: int, rate: float, peak: float) -> float:
    """Return the percentage of `peak` operations per second that `rate` tokens per second take.

    Six operations per weight and token, forward and backward (Kaplan et al. 2020); without attention.
    """
    return 100 * 6 * parameters * rate / peak


def _rows(
    laps: Mapping[Contestant, Sequence[Lap]], facts: Mapping[Contestant, tuple[int, int, float]], options: Options
) -> list[Row]:
    paces = {name: Pace.of(own) for name, own in laps.items()}
    trl = {pieces: pace.rate for (name, pieces), pace in paces.items() if name == TRL_GRPO}
    rows: list[Row] = []
    for (name, pieces), pace in paces.items():
        tokens, parameters, megabytes = facts[name, pieces]
        whole = pace.rate * tokens / laps[name, pieces][0].units
        row: dict[str, str | int | float | None] = {
            "update": name,
            "pieces": "whole batch" if pieces == max(_PIECES) else f"{pieces} tokens",
            "trained tokens/s": pace.rate,
            "slowest": pace.slowest,
            "all tokens/s": whole,
            "peak memory, MB more": megabytes,
            "x TRL": pace.rate / trl[pieces] if trl else None,
            "x best TRL": pace.rate / max(trl.values()) if trl else None,
        }
        if options.peak_tflops:
            row["MFU %"] = mfu(parameters, whole, options.peak_tflops * 1e12)
        rows.append(row)
    return rows


if __name__ == "__main__":
    run_command("speed.learner", Options, run, ["trl", "accelerate"])
