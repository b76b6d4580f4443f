"""Several processes that train one policy together: which of them this is, and what they exchange.

`torchrun` or `accelerate launch` starts them. Each holds the whole policy and plays a share of the episodes; the
episodes are then put together, so that every process knows the whole batch and credits it as one process would. Of
each mini-batch a process takes the gradient of its own rows, and the sum of the gradients moves every copy alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed
from torch import Tensor

from agents.errors import ConfigurationError

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)  # the others wait while the main process evaluates
_BUCKET = 1 << 23  # numbers that are summed in one message


@dataclass(frozen=True)
class Processes:
    """The processes of a run; by default this one alone, which exchanges nothing.

    Attributes:
        rank: Which of them this is.
        count: How many there are.
        device: Where this one's model belongs, when they were started together.
        sharded: Each holds a part of the policy, so that all must compute with it equally often.
    """

    rank: int = 0
    count: int = 1
    device: str = ""
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Whether this one logs, evaluates and writes checkpoints."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's run of items: of all shares, one after the other, come all items in order."""
        first, end = (len(items) * rank // self.count for rank in (self.rank, self.rank + 1))
        return items[first:end]

    def deal(self, lengths: Sequence[int]) -> list[int]:
        """The rows of this process, in order: dealt by length, so that all have nearly the same work."""
        order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
        return sorted(order[self.rank :: self.count])

    def gather(self, value: T) -> list[T]:
        """What every process passed, by rank."""
        if self.count == 1:
            return [value]
        gathered: list[T | None] = [None] * self.count
        torch.distributed.all_gather_object(gathered, value)
        return cast(list[T], gathered)

    def most(self, count: int) -> int:
        """The greatest count of any process."""
        return max(self.gather(count))

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by the sum of all processes' tensors."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            torch.distributed.all_reduce(flat)
            for tensor, total in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the gradients, once they are complete; the processes may have taken them in any number of pieces.

        A parameter that no process has a gradient of keeps none, so that an optimiser passes it over.
        """
        if self.count == 1 or self.sharded or not parameters:  # parts have been summed on the way
            return
        held = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
        torch.distributed.all_reduce(held)
        used = [parameter for parameter, holders in zip(parameters, held.tolist(), strict=True) if holders]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.sum(parameter.grad for parameter in used if parameter.grad is not None)

    def leave(self) -> None:
        """End the exchange."""
        if self.count > 1:
            torch.distributed.destroy_process_group()


SINGLE_PROCESS = Processes()
"""One process by itself."""


def join(device: str, *, sharded: bool = False) -> Processes:
    """The processes that were started together with this one.

    Args:
        device: `cpu`, or `cuda` for the GPU of each process's own number on its machine.
        sharded: Each is to hold a part of the policy.

    Raises:
        ConfigurationError: `device` names one GPU for all of them, or there is just one that could hold a part.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        if sharded:
            raise ConfigurationError("shard=True needs several processes: start them with torchrun")
        return Processes(device=device)
    if torch.device(device).index is not None:
        raise ConfigurationError(
            f"policy.device={device} is one device for {os.environ['WORLD_SIZE']} processes; "
            f"{torch.device(device).type} gives each its own"
        )
    from accelerate import PartialState

    state = PartialState(cpu=torch.device(device).type == "cpu", timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes, str(state.device), sharded)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of tensors of one type, each of about `_BUCKET` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (bucket[0].dtype != tensor.dtype or sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
