"""A critic of whole steps: two Qs and a V, trained on replayed steps against a slow copy of themselves.

Notation: m steps; h the trunk's width. A state is everything up to an action; it is read at its last token, and state
and action together are read at the action's last token. The trunk is causal: what comes later is never looked at.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from agents.models.policy import Policy, trunk, value_head
from agents.rollout.types import Episode
from agents.training import losses
from agents.training.archer.replay_buffer import ReplayStep
from agents.training.batch import micro_batches, pad_rows
from agents.training.optimizer import OptimConfig, check_finite

Tokens = Sequence[int]
Place = tuple[int, int, int]
"""Where a step is read: its sequence, the lengths of that sequence up to the end of the state and of the action."""


@dataclass(frozen=True)
class StepCriticConfig:
    """The critic of `algorithm.advantage=step_critic` (ArCHer). Its optimiser is `optim`'s, with `value_lr`."""

    replay_steps: int = 20_000
    """Newest steps (tool calls) that are kept to learn from."""
    updates: int = 16
    """Optimiser steps of the critic in each iteration."""
    batch_steps: int = 32
    """Replayed steps of each optimiser step; the policy acts anew in the state of each."""
    tau: float = 0.1
    """How far the target network moves to the critic after each optimiser step; 1 makes it a copy."""
    expectile: float = 0.5
    """Which expectile of Q over the policy's actions V is: 0.5 is their mean, towards 1 the best of them."""
    twin: Literal["min", "mean"] = "min"
    """How the two Qs are read as one: the smaller, against overestimation, or their mean."""

    __pydantic_config__ = ConfigDict(extra="forbid")


class StepCritic(nn.Module):
    """Two Qs and a V of steps, on a trunk of their own that starts as a copy of the policy's.

    It is kept in single precision or better: in half precision a target network's small moves would be rounded away.

    Args:
        policy: Where the trunk is copied from.
        autocast: Multiply in bfloat16.
    """

    def __init__(self, policy: Policy, *, autocast: bool = False) -> None:
        super().__init__()
        width, self.dtype, self.device = policy.width, policy.score_dtype, policy.device
        self._autocast = autocast
        self.trunk = copy.deepcopy(policy.decoder)
        self.q_heads = nn.ModuleList(value_head(width, self.dtype, inputs=2 * width, seed=seed) for seed in (1, 2))
        self.v_head = value_head(width, self.dtype)
        self.to(device=self.device, dtype=self.dtype)

    def forward(self, sequences: Sequence[Tokens], places: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """Both Qs (m, 2) and V (m,) of the steps at some places of some sequences."""
        rows, states, actions = torch.tensor(places, device=self.device).T
        ids = pad_rows(sequences, 0, torch.long).to(self.device)  # what fills the padding is never looked at
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            hidden = trunk(self.trunk, ids)
            state = hidden[rows, states - 1]
            both = torch.cat([state, hidden[rows, actions - 1]], dim=-1)
            q = torch.cat([cast(Tensor, head(both)) for head in self.q_heads], dim=-1)
            v = cast(Tensor, self.v_head(state)).squeeze(-1)
        return q.to(self.dtype), v.to(self.dtype)


class StepCriticLearner:
    """A step critic with its target network and its optimiser.

    Both Qs are drawn to `r + gamma * V_target(s')`, with nothing behind an episode's end; V is drawn to `Q_target` of
    what the policy does in s now, whatever it did there when the step was played.

    Args:
        policy: Where the trunk is copied from.
        config: How it learns.
        optim: Of the optimiser; the learning rate is `value_lr`.
        gamma: Discount per step.
    """

    def __init__(self, policy: Policy, config: StepCriticConfig, optim: OptimConfig, gamma: float) -> None:
        self.critic = StepCritic(policy, autocast=optim.autocast)
        self.target = copy.deepcopy(self.critic).requires_grad_(False).eval()
        self._config, self._optim, self._gamma = config, optim, gamma
        self._weights = [weight for weight in self.critic.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._weights, lr=optim.value_lr, betas=optim.betas, weight_decay=optim.weight_decay
        )

    def update(self, steps: Sequence[ReplayStep], actions: Sequence[Tokens]) -> dict[str, float]:
        """One optimiser step, after which the target network follows.

        Args:
            steps: What happened.
            actions: What the policy does now in the state of each.

        Returns:
            Means over the steps (`q_loss`, `v_loss`, `q`, `q_gap`), and `critic_grad_norm`.

        Raises:
            TrainingError: A loss or the gradient is not finite; the weights are left as they were.
        """
        sums: dict[str, Tensor] = {}
        lengths = [max(len(s.transition), s.start + len(a)) for s, a in zip(steps, actions, strict=True)]
        self.optimizer.zero_grad(set_to_none=True)
        for picked in micro_batches(lengths, self._optim.tokens_on(self.critic.device)):
            terms = self._terms([steps[i] for i in picked], [actions[i] for i in picked])
            ((terms["q_loss"] + terms["v_loss"]) / len(steps)).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach()
        metrics = {name: float(total) / len(steps) for name, total in sums.items()}
        metrics["critic_grad_norm"] = float(nn.utils.clip_grad_norm_(self._weights, self._optim.max_grad_norm))
        check_finite(metrics, "q_loss", "v_loss", "critic_grad_norm")
        self.optimizer.step()
        follow(self.target, self.critic, self._config.tau)
        return metrics

    @torch.no_grad()
    def advantage(self, episodes: Sequence[Episode]) -> Tensor:
        """`Q(s, a) - V(s)` of every step (b, k), zero in the padding."""
        shape = (len(episodes), max(len(episode.spans) for episode in episodes))
        result = torch.zeros(shape, dtype=self.critic.dtype, device=self.critic.device)
        for picked in micro_batches(
            [len(episode.ids) for episode in episodes], self._optim.tokens_on(self.critic.device)
        ):
            part = [episodes[i] for i in picked]
            places = [(row, *span) for row, episode in enumerate(part) for span in episode.spans]
            q, v = self.critic([episode.ids for episode in part], places)
            index = [(i, k) for i in picked for k in range(len(episodes[i].spans))]
            rows, columns = torch.tensor(index, device=result.device).T
            result[rows, columns] = self._one(q) - v
        return result

    def _terms(self, steps: Sequence[ReplayStep], actions: Sequence[Tokens]) -> dict[str, Tensor]:
        """Sums over some steps."""
        q_target, v_target = self._targets(steps, actions)
        q, v = self.critic(_sequences(steps), [(row, step.start, step.end) for row, step in enumerate(steps)])
        return {
            "q_loss": losses.squared_error(q, q_target[:, None]).sum(),
            "v_loss": losses.expectile(v, v_target, self._config.expectile).sum(),
            "q": self._one(q).sum(),
            "q_gap": (q[:, 0] - q[:, 1]).abs().sum(),
        }

    @torch.no_grad()
    def _targets(self, steps: Sequence[ReplayStep], actions: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """What Q and what V are drawn to: (m,), (m,)."""
        anew = [(*step.state, *action) for step, action in zip(steps, actions, strict=True)]
        # Where nothing follows, any place will do: its value is not used.
        places = [(row, step.following or step.start, step.end) for row, step in enumerate(steps)]
        places += [(len(steps) + row, steps[row].start, len(ids)) for row, ids in enumerate(anew)]
        q, v = self.target([*_sequences(steps), *anew], places)
        reward = v.new_tensor([step.reward for step in steps])
        goes_on = v.new_tensor([step.following > 0 for step in steps])
        return reward + self._gamma * goes_on * v[: len(steps)], self._one(q[len(steps) :])

    def _one(self, q: Tensor) -> Tensor:
        """The two Qs (m, 2) as one (m,)."""
        return q.amin(-1) if self._config.twin == "min" else q.mean(-1)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move the target's weights to the source's: `target + tau * (source - target)` (Polyak averaging)."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, tau)


def _sequences(steps: Sequence[ReplayStep]) -> list[Tokens]:
    return [step.transition for step in steps]
