"""The online trainer: collect episodes, estimate advantages, update the policy; one loop for every algorithm.

PPO in reading order: `OnlineTrainer.update` here, `compute_advantages` and `step_gae` in `advantages`, `ppo_loss` in
`losses`, `PolicyOptimizer.step` in `optimizer`. The data is a `Batch`, the values come from a `Critic`, the episodes
from a `RolloutCollector`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from agents.distributed.processes import SINGLE_PROCESS, Processes
from agents.distributed.sharding import Shards, sharded
from agents.errors import CheckpointError, TrainingError
from agents.gateway.gateway import Gateway
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.models.checkpoint import Counters
from agents.models.policy import Output
from agents.rollout.collector import ServerBackoff
from agents.rollout.engine import RolloutEngine, make_engine
from agents.rollout.episode_pool import EpisodePool
from agents.rollout.types import TokenEpisode
from agents.seeding import derive
from agents.training.advantages import compute_advantages, make_estimator, terminal_sum
from agents.training.archer.archer import Archer
from agents.training.batch import Batch, collate, mini_batches
from agents.training.collection import RolloutCollector
from agents.training.config import TrainConfig
from agents.training.critic import Critic, DetachedValueHead, NoCritic, ValueHead
from agents.training.forward import evaluate_actions, forward
from agents.training.losses import explained_variance, ppo_loss
from agents.training.metrics_log import EpisodeLog, MetricsLog
from agents.training.optimizer import Loss, PolicyOptimizer, mean_metrics
from agents.training.resumption import check_resumed

Evaluation = Callable[[], dict[str, float]]
OnIteration = Callable[[Counters, dict[str, float]], None]
_LONGEST_REST = 8  # consecutive iterations without a step that a run outlasts


class OnlineTrainer:
    """Train a policy in an episode pool.

    `evaluation` returns `eval/...` metrics, every `config.eval_every` iterations. `engine` is by default the one that
    `config.rollout` names. With a `gateway` its harness plays the episodes, else the environment's own loop. Each of
    `processes` collects a share of the episodes; the main one evaluates and logs.
    """

    def __init__(
        self,
        config: TrainConfig,
        bundle: PolicyBundle,
        pool: EpisodePool,
        *,
        evaluation: Evaluation | None = None,
        log: MetricsLog | None = None,
        engine: RolloutEngine | None = None,
        gateway: Gateway | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.config, self.bundle, self._processes = config, bundle, processes
        self.counters = Counters()
        self._evaluation, self._log = evaluation, log
        self._engine = engine or make_engine(config.rollout, bundle, config.sampling, Path(config.out))
        logged = config.log_episodes if processes.main else 0
        self._episode_log = EpisodeLog(Path(config.out), logged, bundle.codec) if logged else None
        self._collector = RolloutCollector(config, bundle, pool, self._engine, gateway, processes, logged=logged)
        self._backoff = ServerBackoff()
        self._rest = 0  # consecutive iterations whose episodes have no step
        self._estimator = make_estimator(config.algorithm)
        self._reference = bundle.policy.frozen_copy() if config.algorithm.kl_coef else None
        self._reference_digest = checkpoint.weights_digest(self._reference) if self._reference else ""
        self._shards: Shards | None = None
        if processes.sharded:
            self._shards = Shards(bundle.policy, processes)
            self._reference = sharded(self._reference, processes) if self._reference else None
        self._policy = self._shards.policy if self._shards else bundle.policy
        self._optimizer = PolicyOptimizer(self._policy, config.optim, processes)
        self._critic = self._make_critic()

    def run(self, on_iteration: OnIteration | None = None, stop: Callable[[], bool] = lambda: False) -> Counters:
        """Train to the end: log, evaluate (also at the start) and write checkpoints, the last one at the end.

        `on_iteration` and `stop` are called after each iteration; True of `stop` ends training with a checkpoint.
        """
        if self.counters.iteration == 0:
            with self.unsharded():
                if self._log is not None and self._evaluation is not None:
                    self._log.write(0, {"iteration": 0.0, **self._evaluate(self._evaluation)})
        while not self.over:
            metrics = self.iterate()
            if self._log is not None:
                self._log.write(self.counters.calls, metrics)
            if on_iteration is not None:
                on_iteration(self.counters, metrics)
            stopped = any(self._processes.gather(stop()))
            if stopped or self.over or self._due(self.config.checkpoint_every):
                self.save(Path(self.config.out) / f"checkpoint-{self.counters.iteration}")
            if stopped:
                break
        with self.unsharded():
            self._engine.sync_weights(self.counters.iteration)
        self._collector.close()
        return self.counters

    @property
    def over(self) -> bool:
        """True after the last iteration of the run."""
        return self.counters.calls >= self.config.calls

    def iterate(self) -> dict[str, float]:
        """Run one iteration: rollout, update and, where due, evaluation. Return its metrics."""
        begin, done = time.perf_counter(), self.counters
        with self.unsharded():
            rollout = self._collector.collect(done.iteration, done.stage)
        if not self._backoff.wait(rollout):
            self.save(folder := Path(self.config.out) / f"checkpoint-{done.iteration}")
            raise TrainingError(
                f"every episode of several iterations in a row was lost to the tool server; wrote {folder}: start the "
                "server and continue with --resume"
            )
        self._rest = self._rest + 1 if rollout.episodes and not rollout.calls else 0
        if self._rest > _LONGEST_REST:
            self.save(folder := Path(self.config.out) / f"checkpoint-{done.iteration}")
            raise TrainingError(
                f"rollout.harness={self.config.rollout.harness} took no step in any episode of {self._rest} iterations "
                f"in a row, so the run would never reach calls={self.config.calls}; wrote {folder}: take steps with "
                "`task.call` or `task.step`, or return the answer"
            )
        train_begin = time.perf_counter()
        metrics = self.update(rollout.episodes) if rollout.episodes else {}
        end = time.perf_counter()
        self.counters = Counters(
            iteration=done.iteration + 1,
            calls=done.calls + rollout.calls,
            episodes=done.episodes + len(rollout.episodes),
            dropped=done.dropped + rollout.dropped,
            stage=self._collector.next_stage(done.iteration, rollout),
        )
        metrics |= self._collector.metrics() | rollout.metrics() | rollout.timing(end - begin, end - train_begin)
        if self._due(self.config.eval_every):
            with self.unsharded():
                metrics |= self._evaluate(self._evaluation) if self._evaluation is not None else {}
        return {"iteration": float(self.counters.iteration), **metrics}

    def update(self, episodes: list[TokenEpisode]) -> dict[str, float]:
        """Update the policy on the episodes of an iteration. Return the `train/...` metrics."""
        policy, algorithm, iteration = self._policy, self.config.algorithm, self.counters.iteration
        batch = collate(episodes, self.bundle.codec.pad_id, device=policy.device, dtype=policy.score_dtype)
        if algorithm.reward_timing == "terminal_sum":
            batch.reward = terminal_sum(batch.reward, batch.step_count)
        learning_rate_scale = 1 - self.counters.calls / self.config.calls if self.config.anneal else 1.0
        metrics = self._critic.fill_values(batch, episodes, iteration, learning_rate_scale)
        if self._reference is not None:
            max_tokens = self.config.optim.tokens_on(policy.device.type)
            batch.ref_log_prob = evaluate_actions(self._reference, batch, "log_prob", max_tokens, self._processes)
        batch.advantage, batch.returns = compute_advantages(batch, self._estimator, algorithm)
        if self._episode_log is not None:
            self._episode_log.write(iteration + 1, episodes, batch)

        loss_fn: Loss = self._ppo_loss
        epochs = algorithm.epochs
        if iteration < self.config.critic_warmup:
            loss_fn, epochs = self._critic.warmup_loss(loss_fn, epochs)
        shuffle = torch.Generator().manual_seed(derive(self.config.seed, "shuffle", iteration))
        results = [
            self._optimizer.step(minibatch, loss_fn, learning_rate_scale)
            for _ in range(epochs)
            for minibatch in self._mini_batches(batch, shuffle)
        ]
        self._critic.fit(batch, shuffle, learning_rate_scale)

        metrics |= mean_metrics(results)
        if results and "approx_kl" in results[0]:  # before the first step, so of the sampler and not of the update
            metrics["train/sampler_kl"] = results[0]["approx_kl"]
        if batch.value.any():
            metrics["train/explained_variance"] = explained_variance(batch.value[batch.mask], batch.returns[batch.mask])
        return metrics | {"train/idle_episodes": 1 - int(batch.has_advantage.sum()) / len(batch)}

    def _mini_batches(self, batch: Batch, shuffle: torch.Generator) -> Iterator[Batch]:
        """Mini-batches of one pass over the episodes whose loss has a gradient."""
        algorithm = self.config.algorithm
        # Without an advantage only the terms of divergence, entropy and value have a gradient.
        others = bool(algorithm.kl_coef or algorithm.ent_coef) or self._policy.value_head is not None
        active = (batch.has_advantage | others).nonzero().squeeze(1)
        # Fewer episodes make fewer mini-batches of about the same size: each is a step at the full learning rate.
        count = max(1, round(algorithm.mini_batches * len(active) / len(batch)))
        for rows in mini_batches(len(active), count, shuffle):
            yield batch.rows(active[rows.to(active.device)])

    def _ppo_loss(self, micro: Batch) -> Mapping[str, Tensor]:
        """Loss and metrics of PPO for a micro-batch."""
        policy, algorithm = self._policy, self.config.algorithm
        outputs: tuple[Output, ...] = ("log_prob", "entropy", *(("value",) if policy.value_head is not None else ()))
        return ppo_loss(forward(policy, micro, outputs, entropy_gradient=algorithm.ent_coef != 0), micro, algorithm)

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `resume` continues. All processes take part; the main process writes."""
        with self.unsharded():
            if not self._processes.main:
                checkpoint.optimizer_tensors(self._optimizer.adamw)
                return
            checkpoint.save(
                folder,
                self.bundle.policy,
                self.bundle.tokenizer,
                optimizer=self._optimizer.adamw,
                counters=self.counters,
                config=asdict(self.config),
                extra=self._critic.tensors(),
                reference=self._reference_digest,
                total_limit=self.config.save_total_limit,
            )

    def resume(self, folder: Path) -> None:
        """Continue from a checkpoint, with the same results as an uninterrupted run.

        With `rollout.max_staleness` s the first s + 1 iterations are all played with the weights of the checkpoint, so
        their episodes differ.

        Raises:
            ConfigurationError: The run has other settings; see `check_resumed`.
            CheckpointError: The checkpoint is incomplete, damaged or of another model, or `bundle` did not start with
                the reference policy of the run.
        """
        check_resumed(self.config, folder)
        if self._reference_digest != checkpoint.load_reference(folder):
            raise CheckpointError(
                f"{folder}: policy.checkpoint={self.config.policy.checkpoint!r} no longer holds the policy that the "
                "run started with, the reference of algorithm.kl_coef; restore it, or start another run"
            )
        with self.unsharded():
            checkpoint.load_weights(folder, self.bundle.policy)
            if self._shards:
                self._shards.scatter()
        checkpoint.load_optimizer(folder, self._optimizer.adamw)
        self._critic.load(folder)
        self.counters = checkpoint.load_counters(folder)

    def unsharded(self) -> AbstractContextManager[None]:
        """Context in which `bundle` has all its weights, also with sharded training. All processes enter together."""
        return self._shards.gathered() if self._shards else nullcontext()

    def _make_critic(self) -> Critic:
        """Return the critic of the algorithm."""
        if self.config.algorithm.advantage == "step_critic":
            with self.unsharded():
                return Archer(self.config, self.bundle.policy, self._engine, self.unsharded)
        if self._policy.value_head is None:
            return NoCritic()
        kind = DetachedValueHead if self._policy.critic_kind == "detached" else ValueHead
        return kind(self._optimizer)

    def _evaluate(self, evaluation: Evaluation) -> dict[str, float]:
        """Evaluate the current weights, which the engine gets first."""
        self._engine.sync_weights(self.counters.iteration)
        return evaluation()

    def _due(self, every: int) -> bool:
        return bool(every) and (self.counters.iteration % every == 0 or self.over)
