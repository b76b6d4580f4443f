"""The online trainer: play episodes, credit their steps, improve the policy; one loop for every algorithm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents import checkpoint
from agents.archer import Archer
from agents.batch import Batch, Episode, collate, mini_batches
from agents.checkpoint import Progress
from agents.config import TrainConfig
from agents.engine import RolloutEngine
from agents.engines import make_engine
from agents.errors import TrainingError
from agents.estimate import credited
from agents.learner import Learner
from agents.logging import MetricsLog
from agents.objective import critic_loss, explained_variance, frozen, policy_loss, prepare
from agents.patience import Patience
from agents.rollout import Collector, Rollout, Start
from agents.seeding import derive
from agents.update import Updater

Evaluation = Callable[[], dict[str, float]]


class OnlineTrainer:
    """Trains a learner in a vector environment.

    Args:
        config: All settings.
        learner: The policy to train.
        envs: Text environments in `AutoresetMode.DISABLED`.
        evaluation: Gives `eval/...` metrics every `config.eval_every` iterations.
        log: Takes every iteration's metrics.
        engine: Samples the actions; without it, what `config.rollout` names.
    """

    def __init__(
        self,
        config: TrainConfig,
        learner: Learner,
        envs: VectorEnv[Any, Any, Any],
        *,
        evaluation: Evaluation | None = None,
        log: MetricsLog | None = None,
        engine: RolloutEngine | None = None,
    ) -> None:
        self.config, self.learner = config, learner
        self.progress = Progress()
        self._updater = Updater(learner.policy, config.optim)
        self._evaluation, self._log = evaluation, log
        self._engine = engine or make_engine(config.rollout, learner, config.sampling)
        self._collector = Collector(envs, self._engine, learner.codec)
        self._patience = Patience()
        self._reference = frozen(learner.policy) if config.algorithm.kl_coef else None
        archer = config.algorithm.advantage == "step_critic"
        self._archer = Archer(config, learner.policy, self._engine) if archer else None

    def run(self, on_iteration: Callable[[Progress, dict[str, float]], None] | None = None) -> Progress:
        """Train to the end; log, evaluate (the start too) and keep checkpoints on the way."""
        if self._log is not None and self._evaluation is not None and self.progress.iteration == 0:
            self._log.write(0, {"iteration": 0.0, **self._evaluate(self._evaluation)})
        while not self.over:
            metrics = self.iterate()
            if self._log is not None:
                self._log.write(self.progress.calls, metrics)
            if on_iteration is not None:
                on_iteration(self.progress, metrics)
            if self._due(self.config.checkpoint_every):
                self.save(Path(self.config.out) / f"checkpoint-{self.progress.iteration}")
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
        staleness = iteration - self._engine.publish(iteration)
        self._engine.seed(derive(self.config.seed, "sampler", iteration))
        rollout = self._collector.collect(self._starts(iteration))
        if not self._patience.bear(rollout):
            raise self._forsaken()
        train_begin = time.perf_counter()
        metrics = self.update(rollout.episodes) if rollout.episodes else {}
        end = time.perf_counter()
        self._advance(rollout)
        metrics |= rollout.metrics() | rollout.timing(end - begin, end - train_begin)
        metrics["rollout/staleness"] = float(staleness)
        if self._evaluation is not None and self._due(self.config.eval_every):
            metrics |= self._evaluate(self._evaluation)
        return {"iteration": float(self.progress.iteration), **metrics}

    def update(self, episodes: list[Episode]) -> dict[str, float]:
        """Improve the policy on episodes that it has just played."""
        policy, config = self.learner.policy, self.config
        batch = collate(episodes, self.learner.codec.pad_id, device=policy.device, dtype=policy.score_dtype)
        step_critic, step_advantage = self._judge(episodes, batch)
        prepared = prepare(policy, batch, config, self._reference, step_advantage)
        rows = prepared.advantage.abs().sum(1).nonzero().squeeze(1)  # a group without variance teaches nothing
        loss = critic_loss(policy, prepared) if self._warming() else policy_loss(policy, prepared, config)
        shuffle = torch.Generator().manual_seed(derive(config.seed, "shuffle", self.progress.iteration))
        steps = [
            self._updater.step(batch, rows[picked.to(rows.device)], loss, self._scale())
            for _ in range(self._epochs if len(rows) else 0)
            for picked in mini_batches(len(rows), config.algorithm.mini_batches, shuffle)
        ]
        means = {f"train/{name}": sum(step[name] for step in steps) / len(steps) for name in (steps or [{}])[0]}
        idle = {"train/idle_episodes": 1 - len(rows) / len(batch)}
        return means | idle | step_critic | explained_variance(prepared, batch)

    def _evaluate(self, evaluation: Evaluation) -> dict[str, float]:
        self._engine.publish(self.progress.iteration)
        return evaluation()

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `resume` goes on."""
        checkpoint.save(
            folder,
            self.learner.policy,
            self.learner.tokenizer,
            optimizer=self._updater.optimizer,
            progress=self.progress,
            config=asdict(self.config),
            extra=self._archer.tensors() if self._archer is not None else None,
        )

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint: the same numbers as if the run had never been broken.

        Raises:
            CheckpointError: The checkpoint is incomplete, damaged or of another model.
        """
        checkpoint.load_weights(folder, self.learner.policy)
        checkpoint.load_optimizer(folder, self._updater.optimizer)
        if self._archer is not None:
            self._archer.load(folder)
        self.progress = checkpoint.load_progress(folder)

    def _forsaken(self) -> TrainingError:
        """Keep what there is, since the run ends here."""
        folder = Path(self.config.out) / f"checkpoint-{self.progress.iteration}"
        self.save(folder)
        return TrainingError(
            f"every episode of several iterations in a row was lost to the tool server; wrote {folder}: start the "
            "server and go on with --resume"
        )

    def _starts(self, iteration: int) -> list[Start]:
        size = self.config.algorithm.group_size
        return [
            Start(derive(self.config.seed, "task", iteration, group), group)
            for group in range(self.config.episodes // size)
            for _ in range(size)
        ]

    def _judge(self, episodes: list[Episode], batch: Batch) -> tuple[dict[str, float], Tensor | None]:
        """Let the step critic learn, where the run has one: its metrics, and its advantages (b, k)."""
        if self._archer is None:
            return {}, None
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
        return min(1.0, (self.progress.iteration + 1) / (self.config.warmup + 1))

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
