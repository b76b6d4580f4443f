"""ArCHer's critic of whole steps: two Qs and a V, trained on replayed steps with a target network.

Notation: m steps; h the trunk's width. A state is every token up to an action. V reads the hidden state of its last
token; Q reads that and the hidden state of the action's last token. The trunk is causal: it does not read later tokens.
"""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from agents.models.policy import Policy, trunk, value_head
from agents.rollout.types import TokenEpisode
from agents.training import losses
from agents.training.archer.replay_buffer import ReplayStep
from agents.training.batch import pad_rows, split_by_length
from agents.training.config import OptimConfig
from agents.training.optimizer import MAX_GRAD_NORM, check_finite, clip_gradients, make_adamw

Tokens = Sequence[int]
StepPosition = tuple[int, int, int]
"""Position of a step: its sequence, and the lengths of that sequence up to the end of the state and of the action."""
_TAU = 0.1


class StepCritic(nn.Module):
    """Two Qs and a V of steps, on a trunk that starts as a copy of the policy's.

    The weights are in single precision or better: half precision would lose the small updates of a target network.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        width, self.dtype, self.device = policy.width, policy.score_dtype, policy.device
        self._autocast = policy.autocast
        self.trunk = copy.deepcopy(policy.decoder)
        self.q_heads = nn.ModuleList(value_head(width, self.dtype, inputs=2 * width, seed=seed) for seed in (1, 2))
        self.v_head = value_head(width, self.dtype)
        self.to(device=self.device, dtype=self.dtype)

    def forward(self, sequences: Sequence[Tokens], positions: Sequence[StepPosition]) -> tuple[Tensor, Tensor]:
        """Both Qs (m, 2) and V (m,) of the steps at `positions` of `sequences`."""
        rows, states, actions = torch.tensor(positions, device=self.device).T
        ids = pad_rows(sequences, 0, torch.long).to(self.device)  # causal: the padding is not read
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            hidden = trunk(self.trunk, ids)
            state = hidden[rows, states - 1]
            both = torch.cat([state, hidden[rows, actions - 1]], dim=-1)
            q = torch.cat([cast(Tensor, head(both)) for head in self.q_heads], dim=-1)
            v = cast(Tensor, self.v_head(state)).squeeze(-1)
        return q.to(self.dtype), v.to(self.dtype)


class StepCriticLearner:
    """A step critic with its target network and its optimizer, whose learning rate is `optim.value_lr`.

    Q targets: `r + gamma * V_target(s')`, 0 at terminal states. V targets: the smaller `Q_target(s, a')`, `a'`
    resampled from the current policy. After each optimizer step the target network moves by `tau` to the critic.
    """

    def __init__(
        self, policy: Policy, optim: OptimConfig, gamma: float, tau: float = _TAU, max_grad_norm: float = MAX_GRAD_NORM
    ) -> None:
        self.critic = StepCritic(policy)
        self.target = copy.deepcopy(self.critic).requires_grad_(False).eval()
        self._optim, self._gamma, self._tau, self._max_grad_norm = optim, gamma, tau, max_grad_norm
        self._weights = [weight for weight in self.critic.parameters() if weight.requires_grad]
        self.optimizer = make_adamw([{"params": self._weights, "lr": optim.value_lr}])

    def update(self, steps: Sequence[ReplayStep], actions: Sequence[Tokens], scale: float = 1.0) -> dict[str, float]:
        """One optimizer step, then a step of the target network.

        `actions` has an action of the current policy in the state of each replayed step, `scale` is the factor of the
        learning rate. Return means over the steps (`q_loss`, `v_loss`, `q`, `q_gap`), and `critic_grad_norm`.

        Raises:
            TrainingError: A loss or the gradient is not finite; the weights are unchanged.
        """
        sums: dict[str, Tensor] = {}
        lengths = [max(len(s.transition), s.start + len(a)) for s, a in zip(steps, actions, strict=True)]
        self.optimizer.zero_grad(set_to_none=True)
        for picked in split_by_length(lengths, self._optim.tokens_on(self.critic.device.type)):
            terms = self._terms([steps[i] for i in picked], [actions[i] for i in picked])
            ((terms["q_loss"] + terms["v_loss"]) / len(steps)).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach()
        metrics = {name: float(total) / len(steps) for name, total in sums.items()}
        metrics["critic_grad_norm"] = clip_gradients(self._weights, self._max_grad_norm)
        check_finite(metrics, "q_loss", "v_loss", "critic_grad_norm")
        self.optimizer.param_groups[0]["lr"] = self._optim.value_lr * scale
        self.optimizer.step()
        polyak_update(self.target, self.critic, self._tau)
        return metrics

    @torch.no_grad()
    def advantage(self, episodes: Sequence[TokenEpisode]) -> Tensor:
        """`Q(s, a) - V(s)` of every step (b, k), zero in the padding."""
        shape = (len(episodes), max(len(episode.spans) for episode in episodes))
        result = torch.zeros(shape, dtype=self.critic.dtype, device=self.critic.device)
        lengths = [len(episode.ids) for episode in episodes]
        for picked in split_by_length(lengths, self._optim.tokens_on(self.critic.device.type)):
            part = [episodes[i] for i in picked]
            positions = [(row, *span) for row, episode in enumerate(part) for span in episode.spans]
            q, v = self.critic([episode.ids for episode in part], positions)
            index = [(i, k) for i in picked for k in range(len(episodes[i].spans))]
            rows, columns = torch.tensor(index, device=result.device).T
            result[rows, columns] = q.amin(-1) - v
        return result

    def _terms(self, steps: Sequence[ReplayStep], actions: Sequence[Tokens]) -> dict[str, Tensor]:
        """Losses and metrics, summed over some steps."""
        q_target, v_target = self._targets(steps, actions)
        q, v = self.critic(
            [step.transition for step in steps], [(row, step.start, step.end) for row, step in enumerate(steps)]
        )
        return {
            "q_loss": losses.half_squared_error(q, q_target[:, None]).sum(),
            "v_loss": losses.half_squared_error(v, v_target).sum(),
            "q": q.amin(-1).sum(),
            "q_gap": (q[:, 0] - q[:, 1]).abs().sum(),
        }

    @torch.no_grad()
    def _targets(self, steps: Sequence[ReplayStep], actions: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """Targets of Q and of V: (m,), (m,)."""
        resampled = [(*step.state, *action) for step, action in zip(steps, actions, strict=True)]
        # At a terminal state any position will do: its value is not used.
        positions = [(row, step.next_end or step.start, step.end) for row, step in enumerate(steps)]
        positions += [(len(steps) + row, steps[row].start, len(ids)) for row, ids in enumerate(resampled)]
        q, v = self.target([*(step.transition for step in steps), *resampled], positions)
        reward = v.new_tensor([step.reward for step in steps])
        continues = v.new_tensor([step.next_end > 0 for step in steps])
        return reward + self._gamma * continues * v[: len(steps)], q[len(steps) :].amin(-1)


@torch.no_grad()
def polyak_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Polyak averaging: `target + tau * (source - target)`."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, tau)
