"""One episode as a state machine: text in, a call out; the answer in, an observation and a reward out.

The environment and the vector environment only carry the calls between this and the tools.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.finish import read_finish
from steptool_env.episodes.observations import observe
from steptool_env.episodes.prompts import opening
from steptool_env.errors import ConfigurationError
from steptool_env.types import FINISH, Action, Step, Task, Trajectory
from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, StatusCode, ToolCall, ToolResponse, encode_body
from toolserver.resolvers.base import PARSE_ERROR


class Transition(NamedTuple):
    """What one step comes to, as `gymnasium.Env.step` returns it."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class Episode:
    """One attempt at one task.

    Each step is `begin(text)`, then `end(response)` with the answer to the call that `begin` returned, or
    `end(None)` where it returned none. `lose(reason)` takes the place of `end` when the call was not carried.

    Args:
        task: What is to be done.
        rules: What holds for every episode of the environment.
        state: State of the tools: a token, or an `EpisodeState` from tools in process; empty for tools without state.
        seed: The seed that `state` was opened with, kept for the record.

    Attributes:
        terminated: Whether a valid `Finish` or the last call of the budget ended the episode. Every observation says
            how many calls are left, so the budget is a rule of the task and its end no interruption.
        truncated: Whether the tools were out of reach, or the agent ended the episode (`truncate`).
    """

    def __init__(self, task: Task, rules: EpisodeConfig, state: EpisodeState | str = "", seed: int = 0) -> None:
        self.task = task
        self.rules = rules
        self.state = state
        self.seed = seed
        self.steps: list[Step] = []
        self.lost = ""
        self.terminated = False
        self.truncated = False
        self._tools = _by_name(task.tools)
        self._scorer = rules.reward.start(task)
        self._action = Action("")
        self._local: tuple[StatusCode, str] | None = None

    @property
    def calls_left(self) -> int:
        """Steps that remain in the budget."""
        return self.rules.call_budget - len(self.steps)

    @property
    def over(self) -> bool:
        """Whether no step can follow."""
        return self.terminated or self.truncated

    def open(self) -> tuple[str, dict[str, Any]]:
        """The opening prompt and the `info` that goes with it."""
        rules = self.rules
        start = opening(self.task, rules.format, rules.prompt, rules.call_budget)
        info = {
            "task_id": self.task.id,
            "suite": self.task.suite,
            "messages": start.messages,
            "functions": start.functions,
            "format": rules.format.name,
            "calls_left": self.calls_left,
        }
        return start.text, info

    def begin(self, text: str) -> ToolCall | None:
        """Read an action. Returns the call to carry to the tools, or `None` when there is none."""
        if not isinstance(text, str):
            raise ConfigurationError(f"action={text!r:.60}: must be text, not {type(text).__name__}")
        self._action = action = self.rules.format.parse(text)
        self._local = None
        if action.name == FINISH:
            finished = read_finish(action.arguments, action.parsed)
            self._local = finished.status, finished.observation
            return None
        tool = self._tools.get(action.name)
        if tool is None or action.error:
            self._local = _refusal(action, known=tool is not None)
            return None
        return ToolCall(tool.category, tool.tool, tool.name, action.arguments, self.state, action.parsed)

    def end(self, response: ToolResponse | None) -> Transition:
        """Take the answer to the call that `begin` returned (`None` where it returned none) and score the step.

        Tools that do not know an API that is offered belong to other tasks; that loses the episode, too.
        """
        if response is not None and _is_foreign(response):
            return self.lose(f"they do not know {self._action.name}; are they the tools of {self.task.suite}?")
        step = self._local_step() if response is None else self._tool_step(response)
        reward, terms = self._scorer.score(step)
        self._append(Step(step.action, step.observation, step.status, step.body, step.provenance, reward, terms))
        info = {
            "status": int(step.status),
            "provenance": str(step.provenance or ""),
            "reward_terms": dict(terms),
            "calls_left": self.calls_left,
            "latency": 0.0 if response is None else response.latency,
        }
        return self._transition(step.observation, reward, info)

    def lose(self, reason: str) -> Transition:
        """End the episode because the tools could not be asked: no step, no reward, no outcome."""
        self.lost, self.truncated = reason, True
        info = {"status": int(StatusCode.REQUEST_FAILED), "provenance": "", "reward_terms": {}}
        info |= {"calls_left": self.calls_left, "latency": 0.0, "transport_error": reason}
        return self._transition(f"The tools cannot be asked: {reason}", 0.0, info)

    def truncate(self) -> dict[str, Any]:
        """End the episode where it is, because the agent cannot go on. Returns the info of a last step.

        It holds `step_rewards`, `outcome` and `trajectory`, judged on the steps that were taken.
        """
        self.truncated = True
        return self._last_info()

    def resume(self, steps: Iterable[Step], lost: str = "", truncated: bool = False) -> Episode:
        """Take over `steps` that were recorded, scoring each again, so that the scorer knows them too."""
        for step in steps:
            self._scorer.score(step)
            self._append(step)
        self.lost, self.truncated = lost, truncated or bool(lost)
        return self

    def trajectory(self) -> Trajectory:
        """The episode so far, with the rewards as hindsight has them once it is over."""
        steps = tuple(self.steps)
        rewards = tuple(step.reward for step in steps)
        metadata = {"episode_seed": self.seed, **self.rules.record()}
        if self.lost:
            metadata["transport_error"] = self.lost
        elif self.over:
            metadata["outcome"] = dict(self._scorer.outcome())
            hindsight = self._scorer.hindsight()
            if hindsight is not None:
                steps = tuple(
                    replace(step, reward_terms=scored.terms) for step, scored in zip(steps, hindsight, strict=True)
                )
                rewards = tuple(scored.reward for scored in hindsight)
        return Trajectory(self.task, steps, rewards, self.terminated, self.truncated, metadata)

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        self.terminated = step.finished or len(self.steps) >= self.rules.call_budget

    def _local_step(self) -> Step:
        """A step that reached no tool: `Finish`, or a text that is no call of an offered function."""
        if self._local is None:
            raise RuntimeError("Episode.end(None): the call that `begin` returned has not been answered")
        status, text = self._local
        return Step(self._action, self._observe(text), status)

    def _tool_step(self, response: ToolResponse) -> Step:
        self.state = response.state
        body = response.body.decode()
        status = response.outcome.status_code
        return Step(self._action, self._observe(body), status, body, response.provenance, result=response.result)

    def _observe(self, answer: str) -> str:
        return observe(answer, self.rules.max_observation_length, self.calls_left - 1)

    def _transition(self, observation: str, reward: float, info: dict[str, Any]) -> Transition:
        if self.over:
            info |= self._last_info()
        return Transition(observation, reward, self.terminated, self.truncated, info)

    def _last_info(self) -> dict[str, Any]:
        trajectory = self.trajectory()
        info: dict[str, Any] = {"step_rewards": trajectory.rewards, "trajectory": trajectory}
        return info if self.lost else info | {"outcome": dict(trajectory.metadata["outcome"])}


def _by_name(tools: tuple[ApiSpec, ...]) -> dict[str, ApiSpec]:
    """The offered APIs by function name; of two with one name the first counts, as in ToolBench."""
    return {spec.function_name: spec for spec in reversed(tools)}


def _is_foreign(response: ToolResponse) -> bool:
    return response.outcome is Outcome.UNKNOWN_API and response.provenance is Provenance.SERVICE


def _refusal(action: Action, known: bool) -> tuple[StatusCode, str]:
    """Status and answer for a text that is no call of an offered function, in ToolBench's words where it has some."""
    if not action.name:
        error, status = f"No function call can be read: {action.error}.", StatusCode.BAD_INPUT
    elif not known:
        error, status = f"No such function name: {action.name}", StatusCode.NO_SUCH_FUNCTION
    else:
        error, status = PARSE_ERROR, StatusCode.BAD_INPUT
    return status, encode_body(error, "").decode()
