"""Replay buffer: the newest steps of past episodes."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.rollout.types import TokenEpisode


@dataclass(frozen=True)
class ReplayStep:
    """One tool call of a past episode.

    Attributes:
        ids: Tokens of the episode; its steps share one tuple.
        start: End of the state: the action was sampled after `ids[:start]`.
        end: End of the action `ids[start:end]`.
        reward: Final reward.
        next_end: End of the next state `ids[:next_end]`; 0 at the end of the episode.
    """

    ids: tuple[int, ...]
    start: int
    end: int
    reward: float
    next_end: int

    @property
    def state(self) -> tuple[int, ...]:
        """Tokens before the action."""
        return self.ids[: self.start]

    @property
    def transition(self) -> tuple[int, ...]:
        """Tokens of state, action and next state."""
        return self.ids[: max(self.end, self.next_end)]


def replay_steps(episodes: Sequence[TokenEpisode], rewards: Sequence[Sequence[float]]) -> list[ReplayStep]:
    """Steps of episodes with their rewards, possibly padded, in order.

    A truncated episode has a state after its last step.
    """
    steps: list[ReplayStep] = []
    for episode, given in zip(episodes, rewards, strict=True):
        last = len(episode.ids) if episode.truncated else 0
        next_ends = [*(start for start, _ in episode.spans[1:]), last]
        steps += [
            ReplayStep(episode.ids, start, end, reward, next_end)
            for (start, end), reward, next_end in zip(episode.spans, given, next_ends, strict=False)
        ]
    return steps


class ReplayBuffer:
    """A buffer of the newest `capacity` steps."""

    def __init__(self, capacity: int) -> None:
        self._steps: deque[ReplayStep] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._steps)

    def extend(self, steps: Iterable[ReplayStep]) -> None:
        """Add steps; beyond the capacity the oldest are removed."""
        self._steps.extend(steps)

    def sample(self, count: int, generator: torch.Generator) -> list[ReplayStep]:
        """Draw steps uniformly, with replacement. Raise `IndexError` when the buffer is empty."""
        if not self._steps:
            raise IndexError("the replay buffer is empty")
        steps = list(self._steps)  # a deque is slow to look up in its middle
        return [steps[i] for i in torch.randint(len(steps), (count,), generator=generator).tolist()]

    def tensors(self) -> dict[str, Tensor]:
        """Content as tensors; the tokens of an episode are stored once."""
        episodes = {id(step.ids): step.ids for step in self._steps}
        number = {key: index for index, key in enumerate(episodes)}
        fields = [(number[id(s.ids)], s.start, s.end, s.next_end) for s in self._steps]
        return {
            "tokens": torch.tensor([token for ids in episodes.values() for token in ids], dtype=torch.int32),
            "lengths": torch.tensor([len(ids) for ids in episodes.values()], dtype=torch.int64),
            "steps": torch.tensor(fields, dtype=torch.int64).reshape(-1, 4),
            "rewards": torch.tensor([s.reward for s in self._steps], dtype=torch.float64),
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the content by that of `tensors()`."""
        pieces = torch.split(tensors["tokens"], tensors["lengths"].tolist())
        episodes = [tuple(piece.tolist()) for piece in pieces]
        self._steps.clear()
        self._steps.extend(
            ReplayStep(episodes[episode], start, end, reward, next_end)
            for (episode, start, end, next_end), reward in zip(
                tensors["steps"].tolist(), tensors["rewards"].tolist(), strict=True
            )
        )
