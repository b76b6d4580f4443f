"""The online trainer: play episodes, credit their steps, improve the policy; one loop for every algorithm."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents.distributed.processes import SINGLE_PROCESS, Processes
from agents.distributed.sharding import Shards, sharded
from agents.errors import CheckpointError, TrainingError
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.models.checkpoint import Progress
from agents.rollout.collector import EpisodeSpec, Rollout, collect_rollouts, merge_rollouts
from agents.rollout.engine import RolloutEngine, make_engine
from agents.rollout.types import Episode
from agents.seeding import derive
from agents.training.archer.archer import Archer
from agents.training.batch import Batch, collate, mini_batches
from agents.training.config import TrainConfig
from agents.training.estimate import credited
from agents.training.metrics_log import MetricsLog
from agents.training.objective import critic_loss, explained_variance, frozen, policy_loss, prepare
from agents.training.optimizer import Updater
from agents.training.patience import ServerBackoff
from agents.training.resumption import check_resumed
from agents.training.value_fit import fit_values

Evaluation = Callable[[], dict[str, float]]
OnIteration = Callable[[Progress, dict[str, float]], None]


class OnlineTrainer:
    """Trains a learner in a vector environment.

    Args:
        config: All settings.
        learner: The policy to train.
        envs: Text environments in `AutoresetMode.DISABLED`.
        evaluation: Gives `eval/...` metrics every `config.eval_every` iterations.
        log: Takes every iteration's metrics.
        engine: Samples the actions; without it, what `config.rollout` names.
        processes: Those that train copies of the learner together; each plays a share of the episodes. Evaluation and
            log belong to the main one.
    """

    def __init__(
        self,
        config: TrainConfig,
        learner: PolicyBundle,
        envs: VectorEnv[Any, Any, Any],
        *,
        evaluation: Evaluation | None = None,
        log: MetricsLog | None = None,
        engine: RolloutEngine | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.config, self.learner, self._processes = config, learner, processes
        self.progress = Progress()
        self._evaluation, self._log = evaluation, log
        self._engine = engine or make_engine(config.rollout, learner, config.sampling)
        self._envs = envs
        self._patience = ServerBackoff()
        archer = config.algorithm.advantage == "step_critic"
        self._archer = Archer(config, learner.policy, self._engine) if archer else None
        self._reference = frozen(learner.policy) if config.algorithm.kl_coef else None
        self._reference_digest = checkpoint.weights_digest(self._reference) if self._reference else ""
        self._shards: Shards | None = None
        if processes.sharded:
            self._shards = Shards(learner.policy, processes)
            self._reference = sharded(self._reference, processes) if self._reference else None
        self._policy = self._shards.policy if self._shards else learner.policy
        self._updater = Updater(self._policy, config.optim, processes)

    def run(self, on_iteration: OnIteration | None = None, stop: Callable[[], bool] = lambda: False) -> Progress:
        """Train to the end; log, evaluate (the start too) and keep checkpoints on the way.

        The engine has the final weights then.

        Args:
            on_iteration: Called after each iteration.
            stop: Asked after each iteration; true in any process ends training with a checkpoint.
        """
        if self.progress.iteration == 0:
            with self.whole():
                if self._log is not None and self._evaluation is not None:
                    self._log.write(0, {"iteration": 0.0, **self._evaluate(self._evaluation)})
        while not self.over:
            metrics = self.iterate()
            if self._log is not None:
                self._log.write(self.progress.calls, metrics)
            if on_iteration is not None:
                on_iteration(self.progress, metrics)
            stopped = any(self._processes.gather(stop()))
            if stopped or self._due(self.config.checkpoint_every):
                self.save(Path(self.config.out) / f"checkpoint-{self.progress.iteration}")
            if stopped:
                break
        with self.whole():
            self._engine.publish(self.progress.iteration, at_once=True)
        return self.progress

    @property
    def over(self) -> bool:
        """Whether the iterations, or the calls, of the run are used up."""
        config, done = self.config, self.progress
        return done.iteration >= config.iterations or (bool(config.calls) and done.calls >= config.calls)

    def iterate(self) -> dict[str, float]:
        """One round of rollout and update. Returns its metrics."""
        begin = time.perf_counter()
        iteration = self.progress.iteration
        rollout, staleness = self._play(iteration)
        if not self._patience.wait(rollout):
            raise self._forsaken()
        train_begin = time.perf_counter()
        metrics = self.update(rollout.episodes) if rollout.episodes else {}
        end = time.perf_counter()
        self._advance(rollout)
        metrics |= rollout.metrics() | rollout.timing(end - begin, end - train_begin)
        metrics["rollout/staleness"] = float(staleness)
        if self._due(self.config.eval_every):
            with self.whole():
                metrics |= self._evaluate(self._evaluation) if self._evaluation is not None else {}
        return {"iteration": float(self.progress.iteration), **metrics}

    def update(self, episodes: list[Episode]) -> dict[str, float]:
        """Improve the policy on episodes that it has just played."""
        policy, config = self._policy, self.config
        batch = collate(episodes, self.learner.codec.pad_id, device=policy.device, dtype=policy.score_dtype)
        step_critic, step_advantage = self._judge(episodes, batch)
        prepared = prepare(policy, batch, config, self._reference, step_advantage, self._processes)
        rows = prepared.advantage.abs().sum(1).nonzero().squeeze(1)  # a group without variance teaches nothing
        loss = critic_loss(policy, prepared) if self._warming() else policy_loss(policy, prepared, config)
        shuffle = torch.Generator().manual_seed(derive(config.seed, "shuffle", self.progress.iteration))
        # Of fewer rows fewer mini-batches in proportion, of about the same size: each is a step at the full rate.
        parts = max(1, round(config.algorithm.mini_batches * len(rows) / len(batch)))
        steps = [
            self._updater.step(batch, rows[picked.to(rows.device)], loss, self._scale())
            for _ in range(self._epochs if len(rows) else 0)
            for picked in mini_batches(len(rows), parts, shuffle)
        ]
        if config.algorithm.critic_epochs:
            fit_values(self._updater, batch, prepared.value_target, config.algorithm.critic_epochs, shuffle)
        means = {f"train/{name}": sum(step[name] for step in steps) / len(steps) for name in (steps or [{}])[0]}
        idle = {"train/idle_episodes": 1 - len(rows) / len(batch)}
        return means | idle | step_critic | explained_variance(prepared, batch)

    def _evaluate(self, evaluation: Evaluation) -> dict[str, float]:
        """Of the weights as they are: a curve that lags behind its checkpoints would tell of other policies."""
        self._engine.publish(self.progress.iteration, at_once=True)
        return evaluation()

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `resume` goes on. The main process writes; the others give it their parts."""
        with self.whole():
            if not self._processes.main:
                checkpoint.optimizer_tensors(self._updater.optimizer)
                return
            checkpoint.save(
                folder,
                self.learner.policy,
                self.learner.tokenizer,
                optimizer=self._updater.optimizer,
                progress=self.progress,
                config=asdict(self.config),
                extra=self._archer.tensors() if self._archer is not None else None,
                reference=self._reference_digest,
                total_limit=self.config.save_total_limit,
            )

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint: the same numbers as if the run had never been broken.

        Raises:
            ConfigurationError: The run has other settings; see `check_resumed`.
            CheckpointError: The checkpoint is incomplete, damaged or of another model, or the policy that the run began
                with is not the one that `learner` began with, so that divergence would be measured from another.
        """
        check_resumed(self.config, folder)
        if self._reference_digest != checkpoint.load_reference(folder):
            raise CheckpointError(
                f"{folder}: policy.checkpoint={self.config.policy.checkpoint!r} no longer holds the policy that the "
                "run began with, from which algorithm.kl_coef measures; put it back, or begin another run"
            )
        with self.whole():
            checkpoint.load_weights(folder, self.learner.policy)
            if self._shards:
                self._shards.scatter()
        checkpoint.load_optimizer(folder, self._updater.optimizer)
        if self._archer is not None:
            self._archer.load(folder)
        self.progress = checkpoint.load_progress(folder)

    def whole(self) -> AbstractContextManager[None]:
        """While `learner` is used: its weights are all there, also where the processes train parts of them."""
        return self._shards.gathered() if self._shards else nullcontext()

    def _play(self, iteration: int) -> tuple[Rollout, int]:
        """The episodes of an iteration, and how old the weights were that sampled them.

        Each process plays its share; then all are put together.
        """
        rank = self._processes.rank
        with self.whole():
            staleness = iteration - self._engine.publish(iteration)
            self._engine.seed(derive(self.config.seed, "sampler", iteration, *([rank] if rank else [])))
            rollout = collect_rollouts(self._envs, self._engine, self.learner.codec, self._starts(iteration))
        return merge_rollouts(self._processes.gather(rollout)), staleness

    def _forsaken(self) -> TrainingError:
        """Keep what there is, since the run ends here."""
        folder = Path(self.config.out) / f"checkpoint-{self.progress.iteration}"
        self.save(folder)
        return TrainingError(
            f"every episode of several iterations in a row was lost to the tool server; wrote {folder}: start the "
            "server and go on with --resume"
        )

    def _starts(self, iteration: int) -> list[EpisodeSpec]:
        """This process's share of the episodes: whole groups."""
        size = self.config.algorithm.group_size
        return [
            EpisodeSpec(derive(self.config.seed, "task", iteration, group), group)
            for group in self._processes.share(range(self.config.episodes // size))
            for _ in range(size)
        ]

    def _judge(self, episodes: list[Episode], batch: Batch) -> tuple[dict[str, float], Tensor | None]:
        """Let the step critic learn, where the run has one: its metrics, and its advantages (b, k)."""
        if self._archer is None:
            return {}, None
        with self.whole():
            metrics = self._archer.learn(episodes, credited(batch, self.config.algorithm), self.progress.iteration)
            return metrics, self._archer.advantage(episodes)

    def _warming(self) -> bool:
        return self.progress.iteration < self.config.critic_warmup and self.learner.policy.value_head is not None

    @property
    def _epochs(self) -> int:
        """Passes over the episodes; none while a step critic, which has learnt by then, warms up alone."""
        alone = self._archer is not None and self.progress.iteration < self.config.critic_warmup
        return 0 if alone else self.config.algorithm.epochs

    def _scale(self) -> float:
        config, done = self.config, self.progress
        spent = done.calls / config.calls if config.calls else done.iteration / config.iterations
        rising = min(1.0, (done.iteration + 1) / (config.warmup + 1))
        return rising * (1 - spent if config.anneal else 1.0)

    def _due(self, every: int) -> bool:
        return bool(every) and (self.progress.iteration % every == 0 or self.over)

    def _advance(self, rollout: Rollout) -> None:
        was = self.progress
        self.progress = replace(
            was,
            iteration=was.iteration + 1,
            calls=was.calls + rollout.calls,
            episodes=was.episodes + len(rollout.episodes),
            dropped=was.dropped + rollout.dropped,
        )
