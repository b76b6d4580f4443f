"""Data-parallel training: the rank of this process, and collectives.

`torchrun` or `accelerate launch` starts the processes. Each holds a copy of the policy and plays a share of the
episodes; the episodes are gathered, so that every process computes the advantages of the whole batch. Each process
computes the gradient of its rows of a mini-batch, and the gradients are summed.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed
from torch import Tensor

from agents.errors import ConfigurationError
from toolserver.children import end_at_once

T = TypeVar("T")
_TIMEOUT = timedelta(hours=2)  # the others wait while the main process evaluates
_BUCKET = 1 << 23  # numbers that are summed in one message


@dataclass(frozen=True)
class Processes:
    """Processes of a run; by default a single one, without collectives.

    Attributes:
        rank: Rank of this process.
        count: Number of processes.
        device: Device of this process's model; empty in a single process that did not `join`.
        sharded: Each process holds a shard of the policy, so that all must compute with it equally often.
    """

    rank: int = 0
    count: int = 1
    device: str = ""
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Return whether this process logs, evaluates and writes checkpoints."""
        return self.rank == 0

    def local_slice(self, items: Sequence[T]) -> Sequence[T]:
        """Contiguous slice of this process; the slices by rank are all items in order."""
        first, end = (len(items) * rank // self.count for rank in (self.rank, self.rank + 1))
        return items[first:end]

    def local_rows(self, lengths: Sequence[int]) -> list[int]:
        """Rows of this process, in order; assigned in turn by length, so that the processes have nearly equal work."""
        order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
        return sorted(order[self.rank :: self.count])

    def gather(self, value: T) -> list[T]:
        """Values of all processes, by rank."""
        if self.count == 1:
            return [value]
        gathered: list[T | None] = [None] * self.count
        torch.distributed.all_gather_object(gathered, value)
        return cast(list[T], gathered)

    def max(self, count: int) -> int:
        """Maximum over the processes."""
        return max(self.gather(count))

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            torch.distributed.all_reduce(flat)
            for tensor, total in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the accumulated gradients over the processes.

        A parameter without a gradient in every process keeps none, so that the optimizer skips it.
        """
        if self.count == 1 or self.sharded or not parameters:  # FSDP has summed those of shards
            return
        held = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
        torch.distributed.all_reduce(held)
        used = [parameter for parameter, holders in zip(parameters, held.tolist(), strict=True) if holders]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.sum(parameter.grad for parameter in used if parameter.grad is not None)

    def leave(self) -> None:
        """Destroy the process group."""
        if self.count > 1:
            torch.distributed.destroy_process_group()

    def end(self) -> None:
        """End this process at once, successfully, if it is one of several; else return.

        While an interpreter ends, gloo's threads may still release tensors, which aborts the process: one run in three
        of two sharded processes (pytorch/pytorch#179291).
        """
        if self.count > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


SINGLE_PROCESS = Processes()
"""A single process."""


def join(device: str, *, sharded: bool = False) -> Processes:
    """Join the processes that were started together with this one. With several, SIGTERM and SIGHUP end it at once.

    Args:
        device: `cpu`, or `cuda` for the GPU of each process's local rank.
        sharded: Each process holds a shard of the policy.

    Raises:
        ConfigurationError: `device` names one GPU for several processes, or a single process is to be sharded.
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
    end_at_once()  # a process that waits for others in a collective runs no Python handler
    from accelerate import PartialState

    state = PartialState(cpu=torch.device(device).type == "cpu", timeout=_TIMEOUT)
    return Processes(state.process_index, state.num_processes, str(state.device), sharded)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one dtype, of about `_BUCKET` numbers together."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (bucket[0].dtype != tensor.dtype or sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
