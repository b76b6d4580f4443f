"""Evaluations of policies on panels, several at a time in processes of one thread each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from agents.evaluation.panels import Panel, play_panel
from agents.models.bundle import build_policy
from agents.training.config import TrainConfig
from steptool_env.types import Trajectory
from toolserver.children import worker_pool

_PROCESSES = 2


class Job(NamedTuple):
    """Evaluation of one checkpoint on one panel at one temperature, under the name of an agent.

    `config` has the environment, the context and the maximum length of an action.
    """

    name: str
    checkpoint: str
    temperature: float
    panel: Panel
    config: TrainConfig


def play_jobs(jobs: Sequence[Job], on_done: Callable[[int], None]) -> dict[str, list[Trajectory]]:
    """Do all jobs. Return the trajectories by name, panel by panel in the order of the jobs.

    `on_done` gets the number of finished jobs.
    """
    pool = worker_pool(_PROCESSES, partial(torch.set_num_threads, 1))
    try:
        futures = [pool.submit(_play, job) for job in jobs]
        for done, _ in enumerate(as_completed(futures), 1):
            on_done(done)
        found: dict[str, list[Trajectory]] = {}
        for job, future in zip(jobs, futures, strict=True):
            found.setdefault(job.name, []).extend(future.result())
        return found
    finally:
        pool.shutdown(cancel_futures=True)


def _play(job: Job) -> list[Trajectory]:
    config = job.config
    bundle = build_policy(replace(config.policy, checkpoint=job.checkpoint, critic="none", lora_rank=0))
    return play_panel(job.panel, config.env, bundle, config.sampling, job.temperature)
