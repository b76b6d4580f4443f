"""Interface of agents."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

Info = Mapping[str, Any]
State = TypeVar("State")


class AgentFailure(str):
    """Action of an agent that cannot act, e.g. since its model's endpoint fails. The text is the reason.

    The episode ends and is excluded from every metric, as one that is lost to the tool server.
    """

    __slots__ = ()


class Agent(Protocol):
    """Agent that acts in many episodes at once. Each episode has a slot, an integer that is constant while it lasts.

    `reset` starts episodes; `act` returns one action per episode. `indices` are the slots of the other arguments, in
    the same order. Between two calls of `act` for a slot, its episode takes exactly one step.

    An agent with connections or processes may have a method `close()`, which is called once at the end. An agent that
    counts tokens may have a mapping `last_tokens`, the tokens of the last action of each slot; their sum over an
    episode, or a search with all its paths, is `metadata["tokens"]` of the trajectory.
    """

    name: str

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """Start episodes in the slots `indices`.

        Args:
            indices: Slots.
            observations: Prompt of each episode, as one text.
            infos: `task_id`, `messages` (the prompt as chat messages), `functions` (OpenAI schemas, `Finish` last),
                `format` (format of calls, see `steptool_env.formats`) and `calls_left`.
        """

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Return the next action of every episode in `indices`: text in the format of its environment.

        An `AgentFailure` ends the episode, which then does not count.

        Args:
            indices: Slots of live episodes.
            observations: Last observation of each episode: the prompt, then the tools' responses.
            infos: `info` of that observation; after the first step `status`, `calls_left` and `reward_terms`.
        """


@runtime_checkable
class ContinuousAgent(Agent, Protocol):
    """Agent whose actions come one by one, so that no episode waits for the action of another."""

    def ask(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """Ask for the next action of every episode in `indices`; arguments as of `act`."""

    def answers(self) -> Mapping[int, str]:
        """Return the actions, of those asked for, that are now complete, by slot; possibly none."""


@runtime_checkable
class ForkingAgent(Agent, Protocol):
    """Agent that a search can branch at any state of an episode, without asking it again for the actions before.

    In a search `info["attempt"]` is the number of actions that were tried in the same state before, and where these
    are to be avoided `info["diversity"]` is a text that says so, ToolBench's diversity prompt. The agent shows it to
    its model for this action only. Other agents are asked again for all actions of a path, which must be the same,
    and read the text as the end of the observation.
    """

    def fork(self, source: int, target: int, attempt: int) -> None:
        """Copy the episode of slot `source` to slot `target`, before the next action.

        Args:
            source: Slot of the episode.
            target: Slot of the copy, which is replaced if it is in use.
            attempt: As in `info["attempt"]`. Copies with another number draw other random numbers; those with 0 draw
                the numbers of `source`.
        """

    def free(self, slot: int) -> None:
        """Forget the episode of a slot."""


class EpisodeAgent(ABC, Generic[State]):
    """Base of agents that decide in each episode by itself, with a state per episode."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._episodes: dict[int, State] = {}

    @abstractmethod
    def begin(self, info: Info) -> State:
        """Return the state of a new episode."""

    @abstractmethod
    def decide(self, episode: State, observation: str, info: Info) -> str:
        """Return the next action of an episode."""

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            self._episodes[index] = self.begin(info)

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        return [
            self.decide(self._episodes[index], observation, info)
            for index, observation, info in zip(indices, observations, infos, strict=True)
        ]

    def fork(self, source: int, target: int, attempt: int) -> None:
        """See `ForkingAgent.fork`."""
        self._episodes[target] = deepcopy(self._episodes[source])
        if attempt:
            self.vary(self._episodes[target], attempt)

    def free(self, slot: int) -> None:
        """See `ForkingAgent.free`."""
        del self._episodes[slot]

    def vary(self, episode: State, attempt: int) -> None:
        """Change the random numbers of a copied episode; nothing for an agent without any."""
