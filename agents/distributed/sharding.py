"""Training a policy of which each process holds a part (FSDP): weights, gradients and the optimiser's state.

Layers gather their weights while they compute, and give each process its part of the summed gradient. Sampling, which
differs from process to process, cannot wait for others at every token: it reads a whole copy, which holds weights
while it is used and nothing else the rest of the time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from agents.distributed.processes import Processes
from agents.models.policy import Policy


class Shards:
    """The parts of a policy, and the whole that they are parts of.

    Args:
        whole: Its weights are taken over by the parts; it has some in `gathered` only.
        processes: Each holds a part.

    Attributes:
        policy: What is trained; computations with it go through its `forward`, in all processes alike.
    """

    def __init__(self, whole: Policy, processes: Processes) -> None:
        self._whole = whole
        self.policy = sharded(copy.deepcopy(whole), processes)
        self._release()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """The whole has the weights of the parts for a while. Every process has to take part."""
        for own, part in self._pairs():
            own.data = entire(part.detach())
        try:
            yield
        finally:
            self._release()

    def take(self) -> None:
        """Give the parts the weights that the whole has."""
        with torch.no_grad():
            for own, part in self._pairs():
                part.copy_(alike(own.detach(), part))

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        return zip(self._whole.parameters(), self.policy.parameters(), strict=True)

    def _release(self) -> None:
        for own in self._whole.parameters():
            own.data = own.data.new_empty(0)


def sharded(policy: Policy, processes: Processes) -> Policy:
    """The policy, changed to hold this process's part; gradients are summed over the processes, not averaged."""
    mesh: DeviceMesh = init_device_mesh(policy.device.type, (processes.count,))
    layers = [module for module in policy.modules() if isinstance(module, GradientCheckpointingLayer)]
    critic = [module for module in (policy.critic, policy.value_head) if module is not None]  # of another dtype
    for module in (*layers, *critic, policy):
        part = fully_shard(module, mesh=mesh)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    return policy


def entire(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a part. Every process has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def alike(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor, cut into parts as another one is."""
    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
