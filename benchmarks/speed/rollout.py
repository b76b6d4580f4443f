"""Rollouts: sampled tokens and episodes per second, beside `model.generate` on the whole context, and beside TRL.

    python -m benchmarks.speed.rollout [--size small] [--device cuda]

All contestants have the same weights (fresh ones), the same tasks of ToolWorld and the same longest action; what is
called is the gold solution, whatever they write, so all read the same prompts and answers and sample as many tokens.
They differ in what they compute again: `full context` and TRL read the whole episode before every action.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import torch
import tyro

from agents.models.decoder import Size
from agents.rollout.collector import Collector, EpisodeSpec, Rollout
from agents.rollout.sampler import Generator, Sampling
from benchmarks.harness.command import run_command
from benchmarks.harness.report import RESULTS, Result, Row, origin, publish
from benchmarks.harness.timing import Lap, Pace, race
from benchmarks.peers.full_context import FullContextGenerator
from benchmarks.peers.trl import trl_player
from benchmarks.speed.gold import GoldEnvs, Workload, make_workload
from benchmarks.speed.sampling import chat_learner

OURS, FULL, TRL = "ours", "generate, full context", "TRL GRPOTrainer"


@dataclass(frozen=True)
class Options:
    """Measure rollouts. Example: python -m benchmarks.speed.rollout --quick."""

    quick: bool = False
    """Few episodes and rounds."""
    size: Size = "nano"
    """Of the model."""
    device: str = "cpu"
    """Where the model is."""
    level: str = "standard"
    """Of ToolWorld: decides how long prompts are."""
    episodes: int = 32
    """Episodes of a rollout, all side by side."""
    turns: int = 4
    """Actions of an episode."""
    action_tokens: int = 48
    """Longest action; a call has about as many."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = RESULTS
    """Folder for the result files."""


def run(options: Options) -> Result:
    """Measure every contestant that there is."""
    started = origin(["trl", "accelerate"])
    episodes = 8 if options.quick else options.episodes
    workload = make_workload(episodes, options.turns, level=options.level)
    learner = chat_learner(workload.texts(), options.size, options.device)
    policy, codec, context = learner.policy, learner.codec, learner.context
    sampling = Sampling(max_action_tokens=12 if options.quick else options.action_tokens)
    generators = {
        OURS: Generator(policy, context=context, stop_id=codec.stop_id, sampling=sampling),
        FULL: FullContextGenerator(policy, context=context, codec=codec, sampling=sampling),
    }
    notes = []
    with ExitStack() as stack:
        contestants: dict[str, Callable[[], Lap]] = {}
        for name, generator in generators.items():
            envs = GoldEnvs(workload, episodes)
            stack.callback(envs.close)
            contestants[name] = partial(_rollout, Collector(envs, generator, codec), workload)
        try:
            player = stack.enter_context(trl_player(learner, workload, sampling.max_action_tokens))
            contestants[TRL] = player.play
        except ImportError as error:
            notes.append(f"TRL was not measured: {error}.")
        paces = {name: Pace.of(own) for name, own in race(contestants, 1 if options.quick else 5).items()}
        parts = _parts(Collector(GoldEnvs(workload, episodes), generators[OURS], codec), workload)
    tables = {
        "Rollouts": _rows(paces, workload, sampling),
        "What ours spends": [parts],
        "What was played": [
            _described(workload, learner.policy.language_model, codec.opening("", {"messages": workload.prompts[0]}))
        ],
    }
    return Result("rollout", "Rollouts", tables, started, notes)


def _rollout(collector: Collector, workload: Workload) -> Lap:
    begin = perf_counter()
    rollout = collect(collector, workload)
    return Lap(sum(episode.action_tokens for episode in rollout.episodes), perf_counter() - begin)


def collect(collector: Collector, workload: Workload) -> Rollout:
    """Play a workload once."""
    starts = [EpisodeSpec(number, number // workload.copies) for number in range(len(workload.scripts))]
    return collector.collect(starts)


def _parts(collector: Collector, workload: Workload) -> Row:
    rollout = collect(collector, workload)
    whole = rollout.sample_seconds + rollout.env_seconds
    return {"model %": 100 * rollout.sample_seconds / whole, "environment %": 100 * rollout.env_seconds / whole}


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


def _described(workload: Workload, model: torch.nn.Module, prompt: list[int]) -> Row:
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "episodes": len(workload.scripts),
        "actions of an episode": workload.turns,
        "tokens of the first prompt": len(prompt),
        "threads": torch.get_num_threads(),
    }


def main(options: Options) -> None:
    """Measure, print and write."""
    publish(run(options), options.out)


if __name__ == "__main__":
    run_command("speed.rollout", Options, main)
