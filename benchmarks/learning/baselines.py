"""Baselines of the learning experiment that learn without policy gradients, with the same environment calls.

`rft`: fine-tuning on the policy's own solved episodes. `eto`: DPO on pairs of its solved and failed episodes (Song et
al. 2024). `sft`: fine-tuning on more demonstrations of the kind that made the start.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

from agents.baselines.demonstrations import demonstrate
from agents.demo.arms import start_stages
from agents.evaluation.evaluate import Evaluation
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.models.checkpoint import Counters
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.engine import make_engine
from agents.rollout.episode_pool import EpisodePool
from agents.rollout.types import TokenEpisode
from agents.seeding import derive
from agents.training.config import TrainConfig
from agents.training.dpo import pair_episodes, train_dpo
from agents.training.sft import distinct, encode_trajectory, train_sft
from agents.training.sft_config import DPOConfig, SFTConfig
from steptool_env.types import Trajectory

_BATCH = 16  # episodes or pairs per optimizer step
_PAIRS = 4  # maximum per task
_CALLS = 2  # minimum number of steps of a demonstration


class BaselineTrainer:
    """Trainer of a baseline. An iteration is `config.episodes` episodes, and `algorithm.epochs` passes over them.

    Args:
        kind: `rft`, `eto` or `sft`.
        config: Settings: calls, episodes, group size, learning rate, epochs.
        bundle: Policy.
        pool: Environments of the training tasks.
    """

    def __init__(self, kind: str, config: TrainConfig, bundle: PolicyBundle, pool: EpisodePool) -> None:
        self._kind, self._config, self._bundle, self._pool = kind, config, bundle, pool
        self._engine = make_engine(config.rollout, bundle, config.sampling)
        self.counters = Counters()

    @property
    def over(self) -> bool:
        """True after the last call of the run."""
        return self.counters.calls >= self._config.calls

    def iterate(self) -> dict[str, float]:
        """Collect episodes and learn from them. Return the metrics."""
        iteration, done = self.counters.iteration, self.counters
        if self._kind == "sft":
            chosen = self._demonstrations[done.episodes : done.episodes + self._config.episodes]
            calls = sum(len(each.steps) for each in chosen)
            count = len(self._learn([encode_trajectory(self._bundle.codec, each) for each in chosen]))
            self.counters = Counters(iteration + 1, done.calls + calls, done.episodes + len(chosen))
            return {"iteration": float(iteration + 1), "train/examples": float(count)}
        self._engine.sync_weights(iteration)
        self._engine.seed(derive(self._config.seed, "sampler", iteration))
        rollout = collect_rollouts(self._pool, self._engine, self._bundle.codec, list(self._specs(iteration)))
        count = len(self._learn(rollout.episodes))
        episodes, dropped = done.episodes + len(rollout.episodes), done.dropped + rollout.dropped
        self.counters = Counters(iteration + 1, done.calls + rollout.calls, episodes, dropped)
        return {"iteration": float(iteration + 1), "train/examples": float(count), **rollout.metrics()}

    def save(self, folder: Path) -> None:
        """Write a checkpoint. No optimizer outlives its iteration."""
        checkpoint.save(
            folder,
            self._bundle.policy,
            self._bundle.tokenizer,
            counters=self.counters,
            config=asdict(self._config),
            total_limit=self._config.save_total_limit,
        )

    def resume(self, folder: Path) -> None:
        """Continue from a checkpoint."""
        checkpoint.load_weights(folder, self._bundle.policy)
        self.counters = checkpoint.load_counters(folder)

    @cached_property
    def _demonstrations(self) -> list[Trajectory]:
        """Demonstrations for all calls of the run, with other mistakes than those that the start saw."""
        stage, seed = start_stages()[0], derive(self._config.seed, "demonstrations")
        count = self._config.calls // _CALLS + 1
        evaluation = Evaluation("StepTool/ToolWorld-v0", stage.env_args, count, slots=1, seed=seed)
        return demonstrate(evaluation, stage.noise, seed)

    def _specs(self, iteration: int) -> Iterator[EpisodeSpec]:
        """Yield the episodes of an iteration; the last has as many groups as the remaining calls last for."""
        size, done = self._config.algorithm.group_size, self.counters
        groups = self._config.episodes // size
        if done.episodes:
            groups = min(groups, ceil((self._config.calls - done.calls) * done.episodes / (done.calls * size)))
        for group in range(groups):
            yield from (EpisodeSpec(derive(self._config.seed, "task", iteration, group), group) for _ in range(size))

    def _learn(self, episodes: list[TokenEpisode]) -> list[Any]:
        """Learn from episodes. Return the examples: episodes or pairs."""
        config, seed = self._config, derive(self._config.seed, "batches", self.counters.iteration)
        epochs, optim = config.algorithm.epochs, config.optim
        if self._kind == "eto":
            attempts = ((str(e.group), e.metrics["is_solved"] == 1, e) for e in episodes)
            if pairs := pair_episodes(attempts, _PAIRS, seed):
                train_dpo(self._bundle, pairs, DPOConfig(epochs, _BATCH, seed=seed, optim=optim))
            return pairs
        good = episodes if self._kind == "sft" else [e for e in episodes if e.metrics["is_solved"] == 1]
        if kept := distinct(good):
            train_sft(self._bundle, kept, SFTConfig(epochs, _BATCH, seed, optim=optim))
        return kept
