"""Sharded training (FSDP): each process holds a part of the weights, gradients and optimizer state.

Layers gather their weights while they compute, and give each process its part of the summed gradient. Sampling
differs from process to process and cannot synchronise at every token, so it reads an unsharded copy, whose memory is
released while it is not used.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers.modeling_layers import GradientCheckpointingLayer

from agents.distributed.processes import Processes
from agents.models.policy import Policy
from agents.models.weights import full_tensor, shard_like


class Shards:
    """A sharded policy and an unsharded one, `full`, whose weights the shards take over and `gathered` gives back.

    Attributes:
        policy: The sharded policy, which is trained; computations go through its `forward`, in every process.
    """

    def __init__(self, full: Policy, processes: Processes) -> None:
        self._full = full
        self.policy = sharded(copy.deepcopy(full), processes)
        self._release()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Give the unsharded policy its weights for a while. A collective: every process takes part."""
        for own, shard in self._pairs():
            own.data = full_tensor(shard.detach())
        try:
            yield
        finally:
            self._release()

    def scatter(self) -> None:
        """Copy the weights of the unsharded policy to the shards."""
        with torch.no_grad():
            for own, shard in self._pairs():
                shard.copy_(shard_like(own.detach(), shard))

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        return zip(self._full.parameters(), self.policy.parameters(), strict=True)

    def _release(self) -> None:
        for own in self._full.parameters():
            own.data = own.data.new_empty(0)


def sharded(policy: Policy, processes: Processes) -> Policy:
    """Shard a policy in place; gradients are summed over the processes, not averaged."""
    mesh: DeviceMesh = init_device_mesh(policy.device.type, (processes.count,))
    layers = [module for module in policy.modules() if isinstance(module, GradientCheckpointingLayer)]
    critic = [module for module in (policy.critic, policy.value_head) if module is not None]  # of another dtype
    for module in (*layers, *critic, policy):
        part = fully_shard(module, mesh=mesh)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo has no other reduction
    return policy
