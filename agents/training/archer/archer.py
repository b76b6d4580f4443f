"""ArCHer (Zhou et al. 2024): the critic of steps that the online trainer takes its advantages from.

Two time scales. Here, off policy, a critic judges whole tool calls; it learns from the replayed steps of many
iterations. The policy's tokens are then trained, on policy, by the trainer's one update like any other algorithm's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from agents.errors import CheckpointError
from agents.models import checkpoint
from agents.models.policy import Policy
from agents.rollout.engine import RolloutEngine
from agents.rollout.types import Episode
from agents.seeding import derive
from agents.training.archer.critic import StepCriticLearner, Tokens
from agents.training.archer.replay_buffer import ReplayBuffer, replay_steps
from agents.training.config import TrainConfig

_CRITIC, _REPLAY = "step_critic", "replay"


class Archer:
    """Replay buffer and critic of a run.

    Args:
        config: All settings.
        policy: The policy that is trained.
        engine: Samples from it.
    """

    def __init__(self, config: TrainConfig, policy: Policy, engine: RolloutEngine) -> None:
        self.config = config
        self.buffer = ReplayBuffer(config.step_critic.replay_steps)
        self.learner = StepCriticLearner(policy, config.step_critic, config.optim, config.algorithm.gamma)
        self._engine = engine

    def learn(self, episodes: Sequence[Episode], reward: Tensor, iteration: int) -> dict[str, float]:
        """Take in what was just played and improve the critic.

        Args:
            episodes: Of this iteration.
            reward: As the algorithm is given it (b, k).
            iteration: Names the random numbers.

        Returns:
            `train/...` metrics, means over the critic's updates.
        """
        config = self.config.step_critic
        self.buffer.extend(replay_steps(episodes, reward.tolist(), bootstrap=self.config.algorithm.bootstrap))
        drawing = torch.Generator().manual_seed(derive(self.config.seed, "replay", iteration))
        steps = self.buffer.sample(config.updates * config.batch_steps, drawing)
        actions = self._act([step.state for step in steps], iteration)
        parts = [slice(i, i + config.batch_steps) for i in range(0, len(steps), config.batch_steps)]
        results = [self.learner.update(steps[part], actions[part]) for part in parts]
        means = {f"train/{name}": sum(result[name] for result in results) / len(results) for name in results[0]}
        return {**means, "train/replay_steps": float(len(self.buffer))}

    def advantage(self, episodes: Sequence[Episode]) -> Tensor:
        """See `StepCriticLearner.advantage`."""
        return self.learner.advantage(episodes)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a resumption needs, by file: the replayed steps too, since no policy is left that could play them."""
        networks = {"critic": self.learner.critic, "target": self.learner.target}
        weights = {f"{name}.{key}": w for name, net in networks.items() for key, w in net.state_dict().items()}
        optimizer = checkpoint.optimizer_tensors(self.learner.optimizer)
        return {
            _CRITIC: {**weights, **{f"optimizer.{name}": tensor for name, tensor in optimizer.items()}},
            _REPLAY: self.buffer.tensors(),
        }

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises `CheckpointError` when it is of another algorithm or model."""
        saved = checkpoint.load_tensors(folder, _CRITIC)
        try:
            self.learner.critic.load_state_dict(_under("critic.", saved))
            self.learner.target.load_state_dict(_under("target.", saved))
        except RuntimeError as error:
            raise CheckpointError(f"{folder}: the step critic is of another model: {error}") from error
        checkpoint.fill_optimizer(folder, self.learner.optimizer, _under("optimizer.", saved))
        self.buffer.load(checkpoint.load_tensors(folder, _REPLAY))

    def _act(self, states: Sequence[Tokens], iteration: int) -> list[list[int]]:
        """What the policy does now in each state."""
        self._engine.seed(derive(self.config.seed, "critic", iteration))
        actions: list[list[int]] = [[]] * len(states)
        for part in _alike(states, self.config.env.num_envs):
            self._engine.clear()
            for slot, i in enumerate(part):
                self._engine.start(slot, states[i])
            for i, sampled in zip(part, self._engine.act(range(len(part))), strict=True):
                actions[i] = sampled.ids
        self._engine.clear()
        return actions


def _alike(states: Sequence[Tokens], size: int) -> Iterator[list[int]]:
    """States of like length together, at most `size` at once."""
    order = sorted(range(len(states)), key=lambda i: len(states[i]))
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
