"""Episodes as tokens, and batches of them as tensors.

Notation: b episodes, l tokens, k steps (tool calls), j action tokens of an episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agents.distributed.processes import SINGLE_PROCESS, Processes
from agents.rollout.types import Episode


@dataclass(frozen=True)
class Batch:
    """Episodes as padded tensors.

    Attributes:
        ids: Tokens (b, l).
        attention: Real tokens (b, l).
        column: For each action token the position of the token before it, whose hidden state scores it (b, j).
        target: The action tokens themselves (b, j).
        step: The step that each belongs to, -1 in the padding (b, j).
        old_log_prob: Their log-probabilities under the sampler (b, j).
        reward: Final rewards (b, k), zero in the padding.
        steps: Number of steps (b,).
        truncated: Interrupted by the environment (b,).
        group: (b,).
        anchors: Names of the states, b lists of at most k.
        left_padded: Where the padding is.
    """

    ids: Tensor
    attention: Tensor
    column: Tensor
    target: Tensor
    step: Tensor
    old_log_prob: Tensor
    reward: Tensor
    steps: Tensor
    truncated: Tensor
    group: Tensor
    state_hashes: tuple[tuple[str, ...], ...]
    left_padded: bool = False

    @property
    def mask(self) -> Tensor:
        """Real action tokens (b, j)."""
        return self.step >= 0

    @property
    def gap(self) -> Tensor:
        """Observation tokens between each action token and the next (b, j); 0 at the last."""
        following = torch.cat([self.column[:, 1:], self.column[:, -1:]], dim=1)
        more = torch.cat([self.mask[:, 1:], torch.zeros_like(self.mask[:, :1])], dim=1)
        return (following - self.column - 1) * more

    @property
    def tokens(self) -> int:
        """Number of action tokens."""
        return int(self.mask.sum())

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor) -> Batch:
        """Some of the episodes, without the padding that they do not need."""
        mask = self.mask[index]
        j, k = int(mask.sum(1).max()), int(self.steps[index].max())
        attention = self.attention[index]
        length = int(attention.sum(1).max())
        cut = slice(self.ids.shape[1] - length, None) if self.left_padded else slice(0, length)
        shift = self.ids.shape[1] - length if self.left_padded else 0
        return Batch(
            ids=self.ids[index][:, cut],
            attention=attention[:, cut],
            column=(self.column[index] - shift).clamp(min=0)[:, :j],
            target=self.target[index][:, :j],
            step=self.step[index][:, :j],
            old_log_prob=self.old_log_prob[index][:, :j],
            reward=self.reward[index][:, :k],
            steps=self.steps[index],
            truncated=self.truncated[index],
            group=self.group[index],
            state_hashes=tuple(self.state_hashes[i] for i in index.tolist()),
            left_padded=self.left_padded,
        )


def collate(
    episodes: Sequence[Episode],
    pad_id: int,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    padding: Literal["right", "left"] = "right",
) -> Batch:
    """Episodes as one batch.

    Args:
        episodes: At least one; each with at least one step.
        pad_id: Fills `ids`.
        device: Where the tensors go.
        dtype: Of log-probabilities and rewards.
        padding: Side of the padding of `ids`. Right is faster; the results are the same.
    """
    length = max(len(e.ids) for e in episodes)
    shifts = [length - len(e.ids) if padding == "left" else 0 for e in episodes]
    pieces = [_action_tokens(e, shift) for e, shift in zip(episodes, shifts, strict=True)]

    def integers(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        return pad_rows(rows, fill, torch.long).to(device)

    def numbers(rows: Sequence[Sequence[float]]) -> Tensor:
        return pad_rows(rows, 0.0, dtype).to(device)

    padded = [[pad_id] * shift + list(e.ids) for e, shift in zip(episodes, shifts, strict=True)]
    real = [[0] * shift + [1] * len(e.ids) for e, shift in zip(episodes, shifts, strict=True)]
    return Batch(
        ids=integers(padded, pad_id),
        attention=integers(real, 0).bool(),
        column=integers([p[0] for p in pieces], 0),
        target=integers([p[1] for p in pieces], 0),
        step=integers([p[2] for p in pieces], -1),
        old_log_prob=numbers([e.log_probs for e in episodes]),
        reward=numbers([e.rewards for e in episodes]),
        steps=torch.tensor([len(e.spans) for e in episodes], device=device),
        truncated=torch.tensor([e.truncated for e in episodes], device=device),
        group=torch.tensor([e.group for e in episodes], device=device),
        state_hashes=tuple(e.state_hashes for e in episodes),
        left_padded=padding == "left",
    )


def fitting_tokens(device: torch.device) -> int:
    """Padded tokens of one forward pass that suit a device: on a CPU, whose caches then hold a layer's, fewer."""
    return 2048 if device.type == "cpu" else 16384


def micro_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Split rows into groups of like length whose padded size stays within `max_tokens` (one row at least)."""
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    group: list[int] = []
    for row in order:
        if group and (len(group) + 1) * lengths[row] > max_tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def micro_rows(
    batch: Batch, rows: Tensor, max_tokens: int, processes: Processes = SINGLE_PROCESS
) -> Iterator[tuple[Tensor, bool]]:
    """This process's part of some rows of a batch, as micro-batches of rows.

    With each comes whether it counts: where the policy is in parts, a process with fewer micro-batches than others
    computes a row for their sake.
    """
    lengths = batch.attention[rows].sum(1).tolist()
    mine = processes.deal(lengths)
    parts = list(micro_batches([lengths[i] for i in mine], max_tokens))
    missing = processes.most(len(parts)) - len(parts) if processes.sharded else 0
    for picked in parts:
        yield rows[torch.tensor([mine[i] for i in picked], device=rows.device)], True
    for _ in range(missing):
        yield rows[:1], False


def mini_batches(rows: int, count: int, generator: torch.Generator) -> list[Tensor]:
    """Split shuffled rows into at most `count` parts, whose sizes differ by at most 1."""
    order = torch.randperm(rows, generator=generator)
    return list(torch.tensor_split(order, min(rows, count)))


def _action_tokens(episode: Episode, shift: int) -> tuple[list[int], list[int], list[int]]:
    columns: list[int] = []
    targets: list[int] = []
    steps: list[int] = []
    for k, (start, end) in enumerate(episode.spans):
        columns.extend(range(start - 1 + shift, end - 1 + shift))
        targets.extend(episode.ids[start:end])
        steps.extend([k] * (end - start))
    return columns, targets, steps


def pad_rows(rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype) -> Tensor:
    """Rows of any lengths as one tensor, filled on the right."""
    width = max(len(row) for row in rows)
    return torch.tensor([list(row) + [fill] * (width - len(row)) for row in rows], dtype=dtype)
