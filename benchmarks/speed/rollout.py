"""Rollouts: sampled tokens and episodes per second, beside `model.generate` on the whole context, and beside TRL.

    python -m benchmarks.speed.rollout [--size small] [--device cuda]

All contestants have the same fresh weights, ToolWorld tasks and maximum action length. The environment takes the gold
solution in place of the sampled actions, so all read the same prompts and observations and sample the same number of
tokens. `full context` and TRL read the whole episode before every action.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch

from agents.models.bundle import PolicyBundle
from agents.models.decoder import Size
from agents.rollout.collector import Rollout
from agents.rollout.config import Sampling
from agents.rollout.policy_agent import make_sampler
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import Lap, Pace, race
from benchmarks.harness.workload import ScriptedPool, Workload, make_workload, play_workload
from benchmarks.peers.full_context import FullContextSampler
from benchmarks.peers.trl import TrlPlayer
from benchmarks.speed.sampling import chat_bundle

OURS, FULL, TRL = "ours", "generate, full context", "TRL GRPOTrainer"


@dataclass(frozen=True)
class Options:
    """Measure rollouts. Example: python -m benchmarks.speed.rollout --quick."""

    quick: bool = False
    """Few episodes and rounds."""
    size: Size = "nano"
    """Size of the model."""
    device: str = "cpu"
    """Device of the model."""
    level: str = "standard"
    """Level of ToolWorld, which determines the length of prompts."""
    episodes: int = 32
    """Number of concurrent episodes of a rollout."""
    turns: int = 4
    """Number of actions per episode."""
    action_tokens: int = 48
    """Maximum length of an action in tokens; a call has about as many."""


def run(options: Options) -> Result:
    """Measure every available contestant."""
    episodes = 8 if options.quick else options.episodes
    workload = make_workload(episodes, options.turns, level=options.level)
    bundle = chat_bundle(workload.texts(), options.size, options.device)
    codec = bundle.codec
    sampling = Sampling(max_action_tokens=12 if options.quick else options.action_tokens)
    generators = {OURS: make_sampler(bundle, sampling), FULL: FullContextSampler(bundle, sampling)}
    notes = []
    with ExitStack() as stack:
        contestants: dict[str, Callable[[], Lap]] = {}
        for name, generator in generators.items():
            pool = ScriptedPool(workload, episodes)
            stack.callback(pool.close)
            contestants[name] = partial(_lap, partial(play_workload, workload, pool, generator, codec))
        try:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            contestants[TRL] = TrlPlayer(bundle, workload, sampling.max_action_tokens, scratch).play
        except ImportError as error:
            notes.append(f"TRL was not measured: {error}.")
        paces = {name: Pace.of(own) for name, own in race(contestants, 1 if options.quick else 5).items()}
        ours = play_workload(workload, ScriptedPool(workload, episodes), generators[OURS], codec)
    seconds = ours.sample_seconds + ours.env_seconds
    spent: Row = {"model %": 100 * ours.sample_seconds / seconds, "environment %": 100 * ours.env_seconds / seconds}
    tables = {
        "Rollouts": _rows(paces, workload, sampling),
        "What ours spends": [spent],
        "What was played": [_described(workload, bundle)],
    }
    return Result("rollout", "Rollouts", tables, notes)


def _lap(play: Callable[[], Rollout]) -> Lap:
    begin = perf_counter()
    rollout = play()
    return Lap(sum(episode.action_tokens for episode in rollout.episodes), perf_counter() - begin)


def _rows(paces: dict[str, Pace], workload: Workload, sampling: Sampling) -> list[Row]:
    tokens = len(workload.scripts) * workload.turns * sampling.max_action_tokens
    return [
        {
            "rollout": name,
            "sampled tokens/s": pace.rate,
            "slowest": pace.slowest,
            "episodes/s": pace.rate * len(workload.scripts) / tokens,
            "ours is x": paces[OURS].rate / pace.rate,
        }
        for name, pace in paces.items()
    ]


def _described(workload: Workload, bundle: PolicyBundle) -> Row:
    prompt = bundle.codec.encode_prompt("", {"messages": workload.prompts[0]})
    return {
        "parameters": sum(weight.numel() for weight in bundle.policy.language_model.parameters()),
        "episodes": len(workload.scripts),
        "actions of an episode": workload.turns,
        "tokens of the first prompt": len(prompt),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    run_command("speed.rollout", Options, run, ["trl", "accelerate"])
