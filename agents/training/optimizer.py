"""One optimiser step over a mini-batch, in micro-batches. Every algorithm trains through this."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from agents.distributed.processes import SINGLE_PROCESS, Processes
from agents.distributed.sharding import full_tensor
from agents.errors import TrainingError
from agents.models.policy import Policy
from agents.training.batch import Batch, fitting_tokens, micro_rows
from agents.training.losses import squared_error

Terms = Mapping[str, Tensor]
"""Sums over the tokens of a micro-batch. `loss` is differentiated; the rest is logged."""

MicroLoss = Callable[[Batch, Tensor], Terms]
"""(episodes of a micro-batch, their rows in the whole batch) -> sums."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and how a mini-batch is fed."""

    lr: float = 3e-4
    """Learning rate of the language model."""
    value_lr: float = 1e-3
    """Learning rate of the value head and its trunk."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's running averages."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay."""
    max_grad_norm: float = 1.0
    """Gradients of the policy, and of the critic, are scaled down to this norm."""
    max_tokens: int = 0
    """Padded tokens of one forward pass; changes speed and memory, never the result. 0 takes what suits the device."""
    autocast: bool = False
    """Multiply in bfloat16 while learning: faster, less exact. The sampler does not, so ratios start near 1 only."""

    def tokens_on(self, device: torch.device) -> int:
        """Padded tokens of one forward pass on a device."""
        return self.max_tokens or fitting_tokens(device)


class Updater:
    """Owns the optimiser of a policy.

    Args:
        policy: Whose weights are trained.
        config: How.
        processes: Those that train copies of the policy together.
    """

    def __init__(self, policy: Policy, config: OptimConfig, processes: Processes = SINGLE_PROCESS) -> None:
        self.policy, self.config, self._processes = policy, config, processes
        self._actor = [p for p in policy.language_model.parameters() if p.requires_grad]
        self._critic = [p for m in (policy.critic, policy.value_head) if m is not None for p in m.parameters()]
        groups = [{"params": self._actor, "lr": config.lr}]
        if self._critic:
            groups.append({"params": self._critic, "lr": config.value_lr})
        self.optimizer = torch.optim.AdamW(groups, betas=config.betas, weight_decay=config.weight_decay)
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self, batch: Batch, rows: Tensor, loss: MicroLoss, scale: float = 1.0) -> dict[str, float]:
        """Minimise the mean per action token of `loss` over some rows of a batch.

        Args:
            batch: The whole batch, of all processes.
            rows: The mini-batch (n,); each process takes a part of it.
            loss: Sums over a micro-batch; gradients accumulate, so its size changes nothing.
            scale: Of both learning rates (warm-up, decay).

        Returns:
            The means of what `loss` returned, and `grad_norm`.

        Raises:
            TrainingError: The loss or a gradient is not finite; the weights are left as they were.
        """
        tokens = int(batch.mask[rows].sum())
        sums: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for index, counts in micro_rows(batch, rows, self.config.tokens_on(rows.device), self._processes):
            with self.policy.learning():
                with torch.autocast(rows.device.type, torch.bfloat16, enabled=self.config.autocast):
                    terms = self.policy(partial(loss, batch.rows(index), index))
                (terms["loss"] * counts / tokens).backward()
            for name, term in terms.items() if counts else ():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach()
        self._processes.sum_gradients([*self._actor, *self._critic])
        metrics = {name: total / tokens for name, total in self._total(sums).items()}
        metrics["grad_norm"] = self._clip()
        check_finite(metrics, "loss", "grad_norm")
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * scale
        self.optimizer.step()
        return metrics

    def step_values(self, hidden: Tensor, target: Tensor) -> None:
        """Move the value head alone: hidden states (m, h) and what their values should be (m,).

        Raises:
            TrainingError: The gradient is not finite; the weights are left as they were.
        """
        self.optimizer.zero_grad(set_to_none=True)
        squared_error(self.policy.head_values(hidden), target).mean().backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self._critic, self.config.max_grad_norm))
        check_finite({"grad_norm": norm}, "grad_norm")
        self.optimizer.step()

    def _total(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """The sums of all processes; one that had no rows knows no names."""
        parts = self._processes.gather({name: float(total) for name, total in sums.items()})
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    def _clip(self) -> float:
        """Clip both gradients; returns the language model's norm. A critic that is not finite makes it so too."""
        actor, critic = (
            float(full_tensor(nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm))) if parameters else 0.0
            for parameters in (self._actor, self._critic)
        )
        return actor if math.isfinite(critic) else critic


def check_finite(metrics: Mapping[str, float], *names: str) -> None:
    """Raise `TrainingError` when one of these metrics is not finite."""
    wrong = [name for name in names if not math.isfinite(metrics[name])]
    if wrong:
        raise TrainingError(
            f"{' and '.join(wrong)} not finite: {[metrics[name] for name in wrong]}; "
            "lower the learning rate, or check the rewards for NaN"
        )
