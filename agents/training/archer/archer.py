"""ArCHer (Zhou et al. 2024): a critic of steps, trained off-policy, gives the trainer its advantages.

The critic learns from the replayed steps of many iterations. The trainer then updates the policy on the episodes of the
iteration, as with any other estimator.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from agents.errors import CheckpointError
from agents.models import checkpoint
from agents.models.policy import Policy
from agents.rollout.engine import RolloutEngine, act
from agents.rollout.types import TokenEpisode
from agents.seeding import derive
from agents.training.advantages import broadcast_to_tokens
from agents.training.archer.critic import StepCriticLearner, Tokens
from agents.training.archer.replay_buffer import ReplayBuffer, replay_steps
from agents.training.batch import Batch
from agents.training.config import TrainConfig
from agents.training.critic import Critic
from agents.training.optimizer import Loss, mean_metrics

_CRITIC, _REPLAY = "step_critic", "replay"
_REPLAY_STEPS = 20_000
UPDATES = 16
"""Optimizer steps of the critic per iteration."""
BATCH_STEPS = 32
"""Replayed steps (tool calls) per optimizer step; the policy samples a new action in the state of each."""


class Archer(Critic):
    """Replay buffer and critic of a run.

    `engine` samples from the policy that is trained, in the context `unsharded`.
    """

    def __init__(
        self,
        config: TrainConfig,
        policy: Policy,
        engine: RolloutEngine,
        unsharded: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.config, self._unsharded = config, unsharded
        self.buffer = ReplayBuffer(_REPLAY_STEPS)
        self.learner = StepCriticLearner(policy, config.optim, config.algorithm.gamma)
        self._engine = engine

    def fill_values(
        self, batch: Batch, episodes: Sequence[TokenEpisode], iteration: int, scale: float
    ) -> dict[str, float]:
        """Train the critic, then set `batch.advantage` to its advantages.

        The steps of `episodes`, of which the batch is made, go to the replay buffer. Return `train/...` metrics, means
        over the updates. `scale` is the factor of the critic's learning rate.
        """
        self.buffer.extend(replay_steps(episodes, batch.reward.tolist()))
        generator = torch.Generator().manual_seed(derive(self.config.seed, "replay", iteration))
        steps = self.buffer.sample(UPDATES * BATCH_STEPS, generator)
        with self._unsharded():
            actions = self._act([step.state for step in steps], iteration)
        parts = [slice(i, i + BATCH_STEPS) for i in range(0, len(steps), BATCH_STEPS)]
        results = [self.learner.update(steps[part], actions[part], scale) for part in parts]
        batch.advantage = broadcast_to_tokens(self.learner.advantage(episodes), batch.step_index)
        return {**mean_metrics(results), "train/replay_steps": float(len(self.buffer))}

    def warmup_loss(self, loss_fn: Loss, epochs: int) -> tuple[Loss, int]:
        """Return no passes: `fill_values` has trained the critic."""
        del epochs
        return loss_fn, 0

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """State for a resumption, by file. It includes the replayed steps, whose policies no longer exist."""
        networks = {"critic": self.learner.critic, "target": self.learner.target}
        weights = {f"{name}.{key}": w for name, net in networks.items() for key, w in net.state_dict().items()}
        optimizer = checkpoint.optimizer_tensors(self.learner.optimizer)
        return {
            _CRITIC: {**weights, **{f"optimizer.{name}": tensor for name, tensor in optimizer.items()}},
            _REPLAY: self.buffer.tensors(),
        }

    def load(self, folder: Path) -> None:
        """Restore the state of a checkpoint. Raise `CheckpointError` when it is of another algorithm or model."""
        saved = checkpoint.load_tensors(folder, _CRITIC)
        try:
            self.learner.critic.load_state_dict(_under("critic.", saved))
            self.learner.target.load_state_dict(_under("target.", saved))
        except RuntimeError as error:
            raise CheckpointError(f"{folder}: the step critic is of another model: {error}") from error
        checkpoint.fill_optimizer(folder, self.learner.optimizer, _under("optimizer.", saved))
        self.buffer.load(checkpoint.load_tensors(folder, _REPLAY))

    def _act(self, states: Sequence[Tokens], iteration: int) -> list[list[int]]:
        """Sample an action of the current policy in each state."""
        self._engine.seed(derive(self.config.seed, "critic", iteration))
        actions: list[list[int]] = [[]] * len(states)
        for part in _by_length(states, self.config.env.num_envs):
            self._engine.clear()
            for slot, i in enumerate(part):
                self._engine.start(slot, states[i])
            for i, sampled in zip(part, act(self._engine, range(len(part))), strict=True):
                actions[i] = sampled.ids
        self._engine.clear()
        return actions


def _by_length(states: Sequence[Tokens], size: int) -> Iterator[list[int]]:
    """Groups of at most `size` states of similar length."""
    order = sorted(range(len(states)), key=lambda i: len(states[i]))
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
