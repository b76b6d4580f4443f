"""Rollouts of one learner on a cluster: actors on any node play its episodes with weights from the object store.

With `max_staleness` s the actors play the episodes of the next s iterations while the learner updates: those of
iteration i are sampled with the weights of iteration max(0, i - s), however fast the cluster is, so that equal runs are
equal. The log-probabilities of the sampler are those of the loss's ratio, which clips stale actions as any others.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import uuid4

import torch

from agents.cluster.tasks import cancel, connect, result_of, share, submit
from agents.models.bundle import PolicyBundle
from agents.rollout.collector import EpisodeSpec, Rollout, RolloutJob, collect_rollouts, merge_rollouts
from agents.rollout.config import EnvConfig, RolloutConfig, Sampling
from agents.rollout.curriculum import CurriculumPool, open_training_pool
from agents.rollout.sampler import TokenSampler
from agents.rollout.tree_collector import TreePlan, collect_trees


class _Setup(NamedTuple):
    """Parts that do not change in a run."""

    run: str
    bundle: PolicyBundle
    env: EnvConfig
    sampling: Sampling
    plan: TreePlan
    keep: bool


class ClusterRollouts:
    """Collector of a learner's episodes.

    Args:
        config: Address, number of parts of an iteration, and staleness.
        bundle: Policy of the learner; actors get a copy on the CPU.
        env: Environments; each actor plays its share of `num_envs` at the same time.
        sampling: Sampling of actions.
        plan: Branches of the episodes.
        keep: Keep trajectories, for logs.

    Raises:
        EngineError: There is no cluster at the address.
    """

    def __init__(
        self,
        config: RolloutConfig,
        bundle: PolicyBundle,
        env: EnvConfig,
        sampling: Sampling,
        plan: TreePlan,
        *,
        keep: bool,
    ) -> None:
        connect(config.ray_address)
        self.max_staleness, self._parts = config.max_staleness, config.parts
        self._bundle = bundle
        copy = replace(bundle, policy=bundle.policy.frozen_copy().to("cpu"))
        slots = max(plan.slots, -(-env.num_envs // config.parts))
        self._setup = share(_Setup(uuid4().hex, copy, replace(env, num_envs=slots), sampling, plan, keep))
        self._weights: Any = None
        self._version = -1
        self._asked: dict[int, tuple[int, list[Any]]] = {}

    def sync_weights(self, version: int) -> None:
        """Let the jobs that follow be played with the current weights. Equal versions are equal weights."""
        if version != self._version:
            parameters = self._bundle.policy.language_model.named_parameters()
            tensors = {name: tensor.detach().cpu() for name, tensor in parameters if tensor.requires_grad}
            self._weights, self._version = share((version, tensors)), version

    def submit(self, number: int, job: RolloutJob) -> None:
        """Start the job of an iteration, unless it has begun."""
        if number not in self._asked:
            jobs = [replace(job, specs=specs) for specs in _parts(job.specs, self._parts)]
            self._asked[number] = self._version, [submit(_play, self._setup, self._weights, each) for each in jobs]

    def take(self, number: int) -> tuple[Rollout, int]:
        """Wait for the episodes of an iteration. Return them and their staleness in updates."""
        version, references = self._asked.pop(number)
        return merge_rollouts([result_of(reference) for reference in references]), self._version - version

    def close(self) -> None:
        """Cancel what was begun."""
        cancel([reference for _, references in self._asked.values() for reference in references])
        self._asked.clear()


def _parts(specs: Sequence[EpisodeSpec], count: int) -> list[list[EpisodeSpec]]:
    """Cut specs into up to `count` parts of nearly equal size; a group stays together."""
    groups: dict[int, list[EpisodeSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.group, []).append(spec)
    whole, count = list(groups.values()), min(count, len(groups))
    bounds = [len(whole) * part // count for part in range(count + 1)]
    return [[spec for group in whole[first:end] for spec in group] for first, end in pairwise(bounds)]


def _play(setup: _Setup, weights: tuple[int, dict[str, torch.Tensor]], job: RolloutJob) -> Rollout:
    """Play a part in a worker."""
    rollout = _actor(_Key(setup)).play(weights, job)
    kept = setup.keep
    rollout.episodes = [
        replace(episode, hidden=None, trajectory=episode.trajectory if kept else None) for episode in rollout.episodes
    ]
    return rollout


class _Key:
    """Setup by the name of its run, for the cache."""

    def __init__(self, setup: _Setup) -> None:
        self.setup = setup

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.setup.run == self.setup.run

    def __hash__(self) -> int:
        return hash(self.setup.run)


@lru_cache(maxsize=1)
def _actor(key: _Key) -> "_Actor":
    """Return the actor of a worker process, which keeps model and environments from task to task."""
    return _Actor(key.setup)


class _Actor:
    """Policy, engine and environments of a worker process."""

    def __init__(self, setup: _Setup) -> None:
        torch.set_num_threads(1)
        self._setup, self._version = setup, -1
        self._pool = open_training_pool(setup.env)
        bundle = setup.bundle
        self._engine = TokenSampler(
            bundle.policy, context=bundle.context, stop_id=bundle.codec.stop_id, sampling=setup.sampling
        )

    @torch.no_grad()
    def play(self, weights: tuple[int, dict[str, torch.Tensor]], job: RolloutJob) -> Rollout:
        """Play the episodes of a job with these weights."""
        version, tensors = weights
        if version != self._version:
            own = dict(self._setup.bundle.policy.language_model.named_parameters())
            for name, tensor in tensors.items():
                own[name].copy_(tensor)
            self._version = version
        if isinstance(self._pool, CurriculumPool):
            self._pool.stage = job.stage
        self._engine.clear()
        self._engine.sync_weights(version)
        self._engine.seed(job.seed)
        parts = self._pool, self._engine, self._setup.bundle.codec, job.specs
        return collect_trees(*parts, self._setup.plan) if self._setup.plan.branches else collect_rollouts(*parts)
