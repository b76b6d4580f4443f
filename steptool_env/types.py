"""What an episode is made of: tasks, steps and trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolserver.catalog.api_schema import ApiSpec, Provenance, StatusCode

FINISH = "Finish"
GIVE_ANSWER = "give_answer"
GIVE_UP = "give_up_and_restart"

FINISHED = frozenset({StatusCode.FINAL_ANSWER, StatusCode.GAVE_UP})
"""Status codes of a valid call of `Finish`."""
_MALFORMED = frozenset({StatusCode.NO_SUCH_FUNCTION, StatusCode.BAD_INPUT})


@dataclass(frozen=True, slots=True)
class Task:
    """One query with the tools that are offered for it.

    Attributes:
        id: Unique within its suite, stable across runs.
        suite: Name of the suite or split.
        query: What the user asks, in words.
        tools: The offered APIs, in the order in which they are shown. `Finish` is always offered and not listed.
        relevant: Function names of the APIs that a good solution calls (without `Finish`).
        state: The state token with which an episode of this task starts; empty for stateless tools.
        gold: What the task's own verifier needs (ToolWorld: the DAG and the answer); `None` for recorded suites. Left
            out of pickles, as of files: the suite has it under the task's id.
    """

    id: str
    suite: str
    query: str
    tools: tuple[ApiSpec, ...]
    relevant: tuple[str, ...] = ()
    state: str = ""
    gold: Any = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        return Task, (self.id, self.suite, self.query, self.tools, self.relevant, self.state)

    def __copy__(self) -> Task:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Task:
        return self


@dataclass(frozen=True, slots=True)
class Action:
    """What a format read out of a model's text.

    `error` is empty when the text is a call; else it says what is wrong with it, and `name` and
    `arguments` hold what could be read. `arguments` is the JSON text as written by the model.
    """

    text: str
    name: str = ""
    arguments: str = ""
    thought: str = ""
    error: str = ""
    parsed: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """Value of `arguments`, so that nothing in this process parses them again; `None` when they were not parsed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One environment step: one action and what came of it.

    Attributes:
        action: What the model wrote, parsed.
        observation: What it was shown in return (cut, with the marker and the remaining budget).
        status: ToolBench's status code.
        body: The full response as JSON text; empty when no server was reached.
        provenance: Where the response came from; `None` when no server was reached.
        reward: The step's reward as given at that step.
        reward_terms: Its named terms.
        result: Answer of ToolWorld in this process, for the reward; a trajectory does not keep it.
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
        """Whether it ended the episode: a valid call of `Finish`."""
        return self.status in FINISHED

    @property
    def malformed(self) -> bool:
        """Whether it was no call of an offered function with arguments that it takes."""
        return self.status in _MALFORMED


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode, with everything that is needed to score or replay it.

    `rewards` is the final reward vector: the rewards as given, or the hindsight vector of
    `info["step_rewards"]` where the reward kind has one. Shape: `(len(steps),)`.

    Attributes:
        terminated: The episode ended by its own rules: a valid `Finish`, or the call budget.
        truncated: The episode ended from outside: a lost tool server, or a search that ran out of calls. ToolBench's
            files and older files of trajectories say so of the end of a call budget, too.
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
