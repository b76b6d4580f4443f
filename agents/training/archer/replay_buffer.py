"""Steps of past episodes, to learn from again: the newest are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.rollout.types import Episode


@dataclass(frozen=True)
class ReplayStep:
    """One tool call of a past episode.

    Attributes:
        ids: Every token of the episode; its steps share one tuple.
        start: Tokens of the state: the action was sampled after `ids[:start]`.
        end: `ids[start:end]` is the action.
        reward: Its final reward.
        following: `ids[:following]` is the next state; 0 where there is none, because the episode is over.
    """

    ids: tuple[int, ...]
    start: int
    end: int
    reward: float
    following: int

    @property
    def state(self) -> tuple[int, ...]:
        """What the policy had read."""
        return self.ids[: self.start]

    @property
    def transition(self) -> tuple[int, ...]:
        """State, action and, where there is one, what leads to the next state."""
        return self.ids[: max(self.end, self.following)]


def replay_steps(
    episodes: Sequence[Episode], rewards: Sequence[Sequence[float]], *, bootstrap: bool = False
) -> list[ReplayStep]:
    """The steps of some episodes, in order.

    Args:
        episodes: What was played.
        rewards: Of each episode the reward of each step, as the algorithm is given it; what is beyond the steps is
            padding.
        bootstrap: Whether there is a state behind the last step of a truncated episode.
    """
    steps: list[ReplayStep] = []
    for episode, given in zip(episodes, rewards, strict=True):
        behind = len(episode.ids) if bootstrap and episode.truncated else 0
        following = [*(start for start, _ in episode.spans[1:]), behind]
        steps += [
            ReplayStep(episode.ids, start, end, reward, then)
            for (start, end), reward, then in zip(episode.spans, given, following, strict=False)
        ]
    return steps


class ReplayBuffer:
    """The newest steps.

    Args:
        capacity: How many are kept at most.
    """

    def __init__(self, capacity: int) -> None:
        self._steps: deque[ReplayStep] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._steps)

    def extend(self, steps: Iterable[ReplayStep]) -> None:
        """Add steps; where there is no room for all, the oldest leave."""
        self._steps.extend(steps)

    def sample(self, count: int, generator: torch.Generator) -> list[ReplayStep]:
        """Draw steps, each with the same chance each time. Raises `IndexError` when the buffer is empty."""
        if not self._steps:
            raise IndexError("the replay buffer is empty")
        steps = list(self._steps)  # a deque is slow to look up in its middle
        return [steps[i] for i in torch.randint(len(steps), (count,), generator=generator).tolist()]

    def tensors(self) -> dict[str, Tensor]:
        """All that is in it; the tokens of an episode are held once."""
        episodes = {id(step.ids): step.ids for step in self._steps}
        number = {key: index for index, key in enumerate(episodes)}
        fields = [(number[id(s.ids)], s.start, s.end, s.following) for s in self._steps]
        return {
            "tokens": torch.tensor([token for ids in episodes.values() for token in ids], dtype=torch.int32),
            "lengths": torch.tensor([len(ids) for ids in episodes.values()], dtype=torch.int64),
            "steps": torch.tensor(fields, dtype=torch.int64).reshape(-1, 4),
            "rewards": torch.tensor([s.reward for s in self._steps], dtype=torch.float64),
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold what `tensors()` gave, and nothing else."""
        pieces = torch.split(tensors["tokens"], tensors["lengths"].tolist())
        episodes = [tuple(piece.tolist()) for piece in pieces]
        self._steps.clear()
        self._steps.extend(
            ReplayStep(episodes[episode], start, end, reward, following)
            for (episode, start, end, following), reward in zip(
                tensors["steps"].tolist(), tensors["rewards"].tolist(), strict=True
            )
        )
