"""Stage: the operations that decoding and an update spend their time on, by `torch.profiler`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

from agents.models.decoder import Size
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from benchmarks.gpu.decode import GRAPHS, RAGGED, Work, fresh_bundle
from benchmarks.gpu.device import synchronize
from benchmarks.speed.learner import OURS_GRPO, UPDATES, Options, play_batch

if TYPE_CHECKING:
    from benchmarks.gpu.stage import Report

_SHOWN = 12  # operations of each profile
_SAMPLERS: dict[str, type[TokenSampler]] = {GRAPHS: StaticTokenSampler, RAGGED: TokenSampler}


def measure(report: Report) -> None:
    """Profile decoding as graphs and eagerly, and one GRPO update."""
    for name, kind in _SAMPLERS.items():
        with report.attempt(f"profile of {name}"):
            _profile(report, f"decode: {name}", _decoding(report, kind))
    with report.attempt(f"profile of {OURS_GRPO}"):
        size: Size = "nano" if report.tiny else "base"
        options = Options(False, size, report.device, *((2, 2) if report.tiny else (64, 8)), dtype="mixed")
        texts, episodes = play_batch(options)
        _profile(report, f"update: {OURS_GRPO}", UPDATES[OURS_GRPO](options, texts, episodes, 16384).run)


def _decoding(report: Report, kind: type[TokenSampler]) -> Callable[[], object]:
    work = Work("nano", 2, 32) if report.tiny else Work("base", 256, 1024)
    bundle = fresh_bundle(work, report.device)
    tokens = 4 if report.tiny else 32
    sampler = kind(
        bundle.policy, context=work.context, stop_id=bundle.codec.stop_id, sampling=Sampling(max_action_tokens=tokens)
    )
    prompt = torch.randint(3, len(bundle.tokenizer), (work.context - 3 * tokens,)).tolist()
    for slot in range(work.batch):
        sampler.start(slot, prompt)
    return lambda: act(sampler, range(work.batch))


def _profile(report: Report, part: str, run: Callable[[], object]) -> None:
    """Run once unprofiled and once profiled; report the operations with the most time on the device."""
    run()
    synchronize(report.device)
    on_gpu = torch.device(report.device).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        run()
        synchronize(report.device)

    def microseconds(event: Any) -> float:
        return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

    events = sorted(recorded.key_averages(), key=microseconds, reverse=True)
    whole = sum(map(microseconds, events)) or 1.0
    for event in events[:_SHOWN]:
        report.add(
            "Profile",
            {
                "part": part,
                "operation": str(event.key)[:60],
                "calls": int(event.count),
                "ms on the device": microseconds(event) / 1e3,
                "share %": 100 * microseconds(event) / whole,
                "ms on the host": float(event.self_cpu_time_total) / 1e3,
            },
        )
