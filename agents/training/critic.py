"""Critics of the trainer: the values of a batch before the update of the policy, and the training of the critic.

ArCHer's is in `agents.training.archer`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agents.rollout.types import TokenEpisode
from agents.training.batch import Batch
from agents.training.forward import evaluate_actions, final_values, forward
from agents.training.losses import value_loss
from agents.training.optimizer import Loss, PolicyOptimizer


class Critic:
    """Interface of a critic, which does nothing."""

    def fill_values(
        self, batch: Batch, episodes: Sequence[TokenEpisode], iteration: int, scale: float
    ) -> dict[str, float]:
        """Fill in `batch.value` and `batch.final_value`, or `batch.advantage`, of the episodes of an iteration.

        Return the `train/...` metrics of a critic that is trained here. `scale` is the factor of its learning rate.
        """
        del batch, episodes, iteration, scale
        return {}

    def warmup_loss(self, loss_fn: Loss, epochs: int) -> tuple[Loss, int]:
        """Return the loss and the number of passes while only the critic is trained, given those of PPO."""
        return loss_fn, epochs

    def fit(self, batch: Batch, shuffle: torch.Generator, scale: float) -> None:
        """Train on the returns of a batch after the policy's update. `scale` is the factor of the learning rate."""

    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Return the state for a resumption that is not part of the policy, by file."""
        return {}

    def load(self, folder: Path) -> None:
        """Restore the state of a checkpoint."""


class NoCritic(Critic):
    """Critic of a policy without a value head: none."""


class ValueHead(Critic):
    """Value head of the policy of `optimizer`, which PPO's loss trains too."""

    def __init__(self, optimizer: PolicyOptimizer) -> None:
        self._optimizer, self._policy, self._processes = optimizer, optimizer.policy, optimizer.processes
        self._max_tokens = optimizer.config.tokens_on(self._policy.device.type)

    def fill_values(
        self, batch: Batch, episodes: Sequence[TokenEpisode], iteration: int, scale: float
    ) -> dict[str, float]:
        """See `Critic.fill_values`."""
        del iteration, scale
        batch.value = self._values(batch, episodes)
        batch.final_value = final_values(self._policy, batch, self._max_tokens, self._processes)
        return {}

    def warmup_loss(self, loss_fn: Loss, epochs: int) -> tuple[Loss, int]:
        """See `Critic.warmup_loss`."""
        del loss_fn
        return lambda micro: value_loss(forward(self._policy, micro, ("value",)), micro), epochs

    def _values(self, batch: Batch, episodes: Sequence[TokenEpisode]) -> Tensor:
        """Values (b, j)."""
        del episodes
        return evaluate_actions(self._policy, batch, "value", self._max_tokens, self._processes)


class DetachedValueHead(ValueHead):
    """Value head on hidden states (b, j, h) of the policy, on which it is fitted after the policy's update.

    The hidden states are those of the sampler where the episodes have them; else a forward pass computes them.
    """

    def fit(self, batch: Batch, shuffle: torch.Generator, scale: float) -> None:
        """See `Critic.fit`."""
        self._optimizer.fit_values(batch, self._hidden, shuffle, scale)

    def _values(self, batch: Batch, episodes: Sequence[TokenEpisode]) -> Tensor:
        policy = self._policy
        known = [torch.from_numpy(episode.hidden) for episode in episodes if episode.hidden is not None]
        if len(known) == len(batch):
            self._hidden = pad_sequence(known, batch_first=True).to(policy.device, policy.dtype)
        else:
            self._hidden = evaluate_actions(policy, batch, "hidden", self._max_tokens, self._processes)
        return policy.head_values(self._hidden).detach() * batch.mask
