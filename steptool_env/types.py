"""Data types of episodes: tasks, actions, steps and trajectories."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from toolserver.catalog.api_schema import ApiSpec, Provenance, StatusCode

FINISH = "Finish"
GIVE_ANSWER = "give_answer"
GIVE_UP = "give_up_and_restart"

FINISHED = (StatusCode.FINAL_ANSWER, StatusCode.GAVE_UP)
"""Status codes of a valid call of `Finish`."""
_MALFORMED = (StatusCode.NO_SUCH_FUNCTION, StatusCode.BAD_INPUT)


@dataclass(frozen=True, slots=True)
class Turn:
    """Later turn of the user in a task of several turns. It begins when the agent has finished the turn before.

    Attributes:
        message: Message of the user, as text.
        tools: APIs that are offered from this turn on, besides those before.
    """

    message: str
    tools: tuple[ApiSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One query with its offered tools.

    Attributes:
        id: Identifier, unique within the suite and stable across runs.
        suite: Name of the suite or split.
        query: Request of the user, as text; the first one in a task of several turns.
        tools: APIs that are offered from the start, in prompt order. `Finish` is always offered and not listed.
        relevant: Function names of the APIs that a good solution calls (without `Finish`).
        state: State token at the start of an episode; empty for stateless tools.
        family: Group of similar tasks for means over groups; ToolWorld's is that of the plan. Empty without groups.
        solution: Reference solution, read by the task's grader (ToolWorld: a `WorldTask`); `None` for recorded suites.
            Pickles and files omit it; the suite finds it by the task's id.
        turns: Later turns of the user. `Finish` ends a turn, and in the last one the episode.
    """

    id: str
    suite: str
    query: str
    tools: tuple[ApiSpec, ...]
    relevant: tuple[str, ...] = ()
    state: str = ""
    family: str = ""
    solution: Any = field(default=None, compare=False, repr=False)
    turns: tuple[Turn, ...] = ()

    @property
    def callable_tools(self) -> tuple[ApiSpec, ...]:
        """APIs that may be called. Those of a later turn may be called before they are offered, as in BFCL."""
        return (*self.tools, *(spec for turn in self.turns for spec in turn.tools)) if self.turns else self.tools

    def __reduce__(self) -> tuple[object, ...]:
        parts = (self.id, self.suite, self.query, self.tools, self.relevant, self.state, self.family, None, self.turns)
        return Task, parts

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


# Frozen dataclasses take four times as long to make, and every step makes these.
@dataclass(slots=True)
class Action:
    """Result of parsing a model's text.

    `error` is empty for a valid call; otherwise it describes the error, and `name` and `arguments` hold the parts that
    could be parsed. `arguments` is the JSON text as written by the model.
    """

    text: str
    name: str = ""
    arguments: str = ""
    thought: str = ""
    error: str = ""
    parsed: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """Value of `arguments`, so that nothing in this process parses them again; `None` when they were not parsed."""


@dataclass(slots=True)
class Step:
    """One environment step: action, response and reward.

    Attributes:
        action: Parsed text of the model.
        observation: Observation (cut, with the marker and the remaining budget).
        status: ToolBench's status code.
        body: Full response as JSON text; empty without a tool call.
        provenance: Source of the response; `None` without a tool call.
        reward: Reward as returned by `step`.
        reward_terms: Named terms of the reward.
        result: Answer of ToolWorld in this process, for the reward; not kept in a trajectory.
    """

    action: Action
    observation: str
    status: StatusCode
    body: str = ""
    provenance: Provenance | None = None
    reward: float = 0.0
    reward_terms: Mapping[str, float] = field(default_factory=dict)
    result: Any = field(default=None, compare=False, repr=False)

    @property
    def finished(self) -> bool:
        """True for a valid call of `Finish` that ends the episode."""
        return self.status in FINISHED

    @property
    def ends_turn(self) -> bool:
        """True for a valid call of `Finish` that ends a turn other than the last one; its status is `OK`."""
        return self.status is StatusCode.OK and self.action.name == FINISH

    @property
    def malformed(self) -> bool:
        """True unless the action is a call of an offered function with valid arguments."""
        return self.status in _MALFORMED


@dataclass(slots=True)
class Trajectory:
    """One episode, with all data needed to score or replay it.

    `rewards` are the final rewards: `info["step_rewards"]` of the last step. Shape: `(len(steps),)`.

    Attributes:
        terminated: True after a valid `Finish` or the end of the call budget.
        truncated: True after a transport error, or a search without remaining calls. ToolBench's files and older
            trajectory files also set it at the end of a call budget.
    """

    task: Task
    steps: tuple[Step, ...]
    rewards: tuple[float, ...]
    terminated: bool
    truncated: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """True where a valid `Finish` ended the episode."""
        return bool(self.steps) and self.steps[-1].finished
