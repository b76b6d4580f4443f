"""Stage: trained tokens per second and share of the product rate of one update, beside TRL's on the same ids.

The updates are those of `benchmarks.speed.learner`, here with float32 weights that are multiplied in bfloat16.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.gpu.device import product_rate, synchronize
from benchmarks.harness.timing import Lap, Pace
from benchmarks.speed.learner import OURS_GRPO, TRL_GRPO, UPDATES, Options, mfu, play_batch

if TYPE_CHECKING:
    from benchmarks.gpu.stage import Report

_PPO = "ours, PPO, critic shared"
_UPDATES = (OURS_GRPO, _PPO, TRL_GRPO, "ours, PPO, critic separate")
_TINY_UPDATES = (OURS_GRPO, _PPO, TRL_GRPO)
_PIECES = (16384, 65536, 4096)
"""Padded tokens of a forward pass: the default of a GPU, and others."""
_LAPS = 3  # after one that does not count
_BEGIN_SECONDS = 5.0


def measure(report: Report) -> None:
    """Measure updates in pieces of each size, the default first, until the time is over."""
    rate = product_rate(report.device, report.tiny)
    report.add("Product", {"bfloat16 TFLOP/s": rate / 1e12})
    options = Options(
        size="nano" if report.tiny else "base",
        device=report.device,
        episodes=2 if report.tiny else 256,
        copies=2 if report.tiny else 8,
        dtype="mixed",
    )
    texts, episodes = play_batch(options)
    tokens = sum(len(episode.ids) for episode in episodes)
    for pieces in _PIECES[:1] if report.tiny else _PIECES:
        for name in _TINY_UPDATES if report.tiny else _UPDATES:
            if report.left < _BEGIN_SECONDS:
                report.note(f"Learn: no time was left for {name} in pieces of {pieces} tokens.")
                continue
            with report.attempt(f"{name}, pieces of {pieces} tokens"):
                update = UPDATES[name](options, texts, episodes, pieces)
                laps: list[Lap] = []
                for _ in range(1 if report.tiny else 1 + _LAPS):
                    begin = perf_counter()
                    trained = update.run()
                    synchronize(report.device)
                    laps.append(Lap(trained, perf_counter() - begin))
                pace = Pace.of(laps[1:] or laps)
                whole = pace.rate * tokens / laps[0].units
                report.add(
                    "Updates",
                    {
                        "update": name,
                        "tokens of a piece": pieces,
                        "trained tokens/s": pace.rate,
                        "slowest": pace.slowest,
                        "all tokens/s": whole,
                        "MFU %": mfu(update.parameters, whole, rate),
                        "peak memory, MB more": update.added_megabytes(options),
                        "parameters": update.parameters,
                        "tokens": tokens,
                    },
                )
                del update
