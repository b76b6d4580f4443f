"""What every agent is, whatever decides inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Info = Mapping[str, Any]


class Agent(Protocol):
    """Acts in many episodes at once; each runs in a slot, an integer that stays the same while it lasts.

    An agent is told of an episode by `reset` and is then asked for one action at a time. `indices` says which slots
    the other arguments are about; their order is the order of the answer. Between two calls of `act` for a slot its
    episode took exactly one step.

    An agent that holds connections or processes may have a `close()`; it is called once, at the end.
    """

    name: str

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """Episodes begin in the slots `indices`.

        Args:
            indices: The slots.
            observations: The opening prompt of each episode, as one text.
            infos: `task_id`, `messages` (the prompt as chat messages), `functions` (OpenAI schemas, `Finish` last),
                `format` (how a call is to be written, see `steptool_env.formats`) and `calls_left`.
        """
        ...

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """The next action of every episode in `indices`: text in the format of its environment.

        Args:
            indices: The slots of live episodes.
            observations: What each saw last: the opening prompt, then the tools' answers.
            infos: The `info` that came with it; after the first step `status`, `calls_left` and `reward_terms`.
        """
        ...
