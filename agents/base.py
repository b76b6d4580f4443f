"""Protocol of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Info = Mapping[str, Any]


class Agent(Protocol):
    """Acts in several episodes at once, each in a slot, an integer that is constant during the episode.

    `reset` starts an episode; each `act` asks for its next action. `indices` names the slots of the other arguments, in
    the same order. Between two calls of `act` for a slot its episode takes exactly one step.

    An agent that holds connections or processes may have a method `close()`, which is called once at the end.
    """

    name: str

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """Start episodes in the slots `indices`.

        Args:
            indices: Slots.
            observations: Prompt of each episode, as one text.
            infos: `task_id`, `messages` (the prompt as chat messages), `functions` (OpenAI schemas, `Finish` last),
                `format` (call format, see `steptool_env.formats`) and `calls_left`.
        """
        ...

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Return the next action of every episode in `indices`: text in the call format of its environment.

        Args:
            indices: Slots of live episodes.
            observations: Last observation of each: the prompt, then tool results.
            infos: `info` of that observation; after the first step `status`, `calls_left` and `reward_terms`.
        """
        ...
