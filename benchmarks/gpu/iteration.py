"""Stage: shares of rollout, environment and update in whole training iterations, tools in process and over HTTP.

The policy has fresh weights and is trained with PPO; the environment takes the gold solution in place of what the
policy writes, so that every episode has as many calls as a solved one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.models.bundle import build_policy
from agents.models.config import Dtype, PolicyConfig
from agents.models.tokenizer import train_tokenizer
from agents.training.config import make_config
from agents.training.trainer import OnlineTrainer
from benchmarks.harness.workload import ScriptedPool, Workload, make_workload
from toolserver.testing import ServerProcess

if TYPE_CHECKING:
    from benchmarks.gpu.stage import Report

_CONTEXT = 2048
_BEGIN_SECONDS = 5.0
_RUNS: tuple[tuple[bool, Dtype], ...] = ((False, "mixed"), (True, "mixed"), (False, "bfloat16"))
"""Tools over HTTP, and dtype of the policy."""
_NAMES = {False: "in process", True: "over HTTP"}
_ITERATIONS = 3  # after one that compiles and captures


def measure(report: Report) -> None:
    """Run iterations with each kind of tools and dtype."""
    workload = make_workload(*((2, 3, 2) if report.tiny else (256, 4, 8)))
    for over_http, dtype in _RUNS[:2] if report.tiny else _RUNS:
        what = f"tools {_NAMES[over_http]}, {dtype}"
        if report.left < _BEGIN_SECONDS:
            report.note(f"Iteration: no time was left for {what}.")
            continue
        with report.attempt(what), _tools(workload, over_http) as reached:
            _measure_run(report, reached, over_http, dtype)


@contextmanager
def _tools(workload: Workload, over_http: bool) -> Iterator[Workload]:
    """Return the workload with its tools in process, or of a server that runs meanwhile."""
    if not over_http:
        yield workload
        return
    with ServerProcess(["--world", "0"]) as server:
        yield workload._replace(arguments={**workload.arguments, "server_url": server.url})


def _measure_run(report: Report, workload: Workload, over_http: bool, dtype: Dtype) -> None:
    policy = PolicyConfig(
        model="nano" if report.tiny else "base", context=_CONTEXT, dtype=dtype, device=report.device, critic="shared"
    )
    episodes = len(workload.scripts)
    with ExitStack() as stack:
        settings = {
            "calls": 10**9,
            "episodes": episodes,
            "out": stack.enter_context(tempfile.TemporaryDirectory()),
            "sampling": {"max_action_tokens": 8 if report.tiny else 48},
            "rollout": {"engine": "static"},
            "optim": {"lr": 1e-5},
        }
        pool = ScriptedPool(workload, episodes)
        stack.callback(pool.close)
        bundle = build_policy(policy, train_tokenizer(workload.texts()))
        trainer = OnlineTrainer(replace(make_config(settings), policy=policy), bundle, pool)
        if not report.tiny:
            trainer.iterate()
        for number in range(1 if report.tiny else _ITERATIONS):
            if number and report.left < _BEGIN_SECONDS:
                break
            report.add("Iterations", _row(trainer.iterate(), over_http, dtype))


def _row(metrics: dict[str, float], over_http: bool, dtype: Dtype) -> dict[str, str | float]:
    whole = metrics["time/iteration_seconds"]
    return {
        "tools": _NAMES[over_http],
        "dtype": dtype,
        "seconds": whole,
        "rollout %": 100 * metrics["time/sample_seconds"] / whole,
        "environment %": 100 * metrics["time/env_seconds"] / whole,
        "update %": 100 * metrics["time/train_seconds"] / whole,
        "sampled tokens/s": metrics["time/sampled_tokens_per_second"],
        "calls/s": metrics["time/calls_per_second"],
        "dropped": metrics["rollout/dropped"],
    }
