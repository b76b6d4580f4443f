"""One episode as a state machine, and one step of many episodes.

An action's text becomes a tool call; the tool's response becomes an observation and a reward. `step_episodes` carries
the calls of all episodes together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

from steptool_env.client import ToolClient
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.finish import read_finish
from steptool_env.episodes.observations import CALLS_LEFT, observe
from steptool_env.episodes.prompts import make_prompt, offered_functions, turn_text
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.types import FINISH, Action, Step, Task, Trajectory
from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, StatusCode, ToolCall, ToolResponse, encode_body
from toolserver.resolvers.base import PARSE_ERROR


class Transition(NamedTuple):
    """The result of one step, as `gymnasium.Env.step` returns it."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class Episode:
    """One attempt at one task.

    A step is `parse_action(text)`, then `apply_response(response)` with the response to the call that `parse_action`
    returned (`None` if it returned `None`). `abort(reason)` replaces `apply_response` if the call could not be sent.

    Args:
        task: Task of the episode.
        config: Configuration shared by all episodes of the environment.
        state: State of the tools: an `EpisodeState` in process, a token over HTTP; empty for stateless tools.
        seed: Episode seed from which `state` was made; recorded in the trajectory.

    Attributes:
        lost: Reason why the tools could not be reached; empty otherwise.
        terminated: True after a valid `Finish` or the last call of the budget. Observations show the remaining calls,
            so the budget is part of the task and not a time limit; in the style `toolbench` they do not show them.
        truncated: True after a transport error or `truncate`.
    """

    def __init__(self, task: Task, config: EpisodeConfig, state: EpisodeState | str = "", seed: int = 0) -> None:
        self.task = task
        self.config = config
        self.state = state
        self.seed = seed
        self.steps: list[Step] = []
        self.lost = ""
        self.terminated = False
        self.truncated = False
        # The first of two APIs with one name counts, as in ToolBench.
        self._tools = {spec.function_name: spec for spec in reversed(task.callable_tools)}
        self._turn = 0
        self._scorer = config.reward.start(task)
        self._action = Action("")
        self._local: tuple[StatusCode, str] | None = None

    @property
    def calls_left(self) -> int:
        """Steps that remain in the budget."""
        return self.config.call_budget - len(self.steps)

    @property
    def over(self) -> bool:
        """True after the last step."""
        return self.terminated or self.truncated

    @property
    def functions(self) -> list[dict[str, Any]]:
        """Functions that are now offered, in OpenAI's schema, `Finish` last."""
        return offered_functions(self.task, self._turn)

    @property
    def observation(self) -> str:
        """Observation of the last step; the prompt before the first one."""
        return self.steps[-1].observation if self.steps else self.prompt()[0]

    def prompt(self) -> tuple[str, dict[str, Any]]:
        """Return the initial observation and the `info` of `reset`."""
        config = self.config
        shown = config.call_budget if config.observation == "budget" else None
        start = make_prompt(self.task, config.format, config.prompt, shown)
        info = {
            "task_id": self.task.id,
            "suite": self.task.suite,
            "messages": start.messages,
            "functions": start.functions,
            "tools": [{"type": "function", "function": function} for function in start.functions],
            "format": config.format.name,
            "calls_left": self.calls_left,
        }
        return start.text, info

    def parse_action(self, text: str) -> ToolCall | None:
        """Parse an action. Return the tool call to send, or `None` if the action needs no tool."""
        if not isinstance(text, str):
            raise ConfigurationError(f"action={text!r:.60}: must be text, not {type(text).__name__}")
        self._action = action = self.config.format.parse(text)
        self._local = None
        if action.name == FINISH:
            finished = read_finish(action.arguments, action.parsed)
            self._local = finished.status, finished.observation
            if finished.status is StatusCode.FINAL_ANSWER and self._turn < len(self.task.turns):
                self._local = StatusCode.OK, finished.observation + self._next_turn()
            return None
        tool = self._tools.get(action.name)
        if tool is None or action.error:
            self._local = _rejection(action, known=tool is not None)
            return None
        return ToolCall(tool.category, tool.tool, tool.name, action.arguments, self.state, action.parsed)

    def apply_response(self, response: ToolResponse | None) -> Transition:
        """Score the step with the response to the call of `parse_action`; `None` if there was no call.

        A response that says that the state was refused, or that the server itself failed at the call (its recording is
        damaged), aborts the episode: no tool has answered, so the step cannot be scored.

        Raises:
            ConfigurationError: The response says that an offered API is unknown: the server has the tools of other
                tasks. To abort such episodes would select those that call less.
        """
        if response is not None and response.provenance is Provenance.SERVICE:
            if response.outcome is Outcome.UNKNOWN_API:
                raise ConfigurationError(
                    f"the tools do not know {self._action.name}, which task {self.task.id!r} of {self.task.suite!r} "
                    "offers; start the server with the tools of these tasks"
                )
            if response.outcome in (Outcome.FORBIDDEN, Outcome.FAILED):
                return self.abort(response.error)
        step = self._local_step() if response is None else self._tool_step(response)
        reward, terms = self._scorer.score(step)
        step.reward, step.reward_terms, step.result = reward, terms, None
        self._append(step)
        info = {
            "status": int(step.status),
            "provenance": str(step.provenance or ""),
            "reward_terms": dict(terms),
            "calls_left": self.calls_left,
            "latency": 0.0 if response is None else response.latency,
        }
        if step.ends_turn and not self.over:
            info |= self._turn_info()
        return self._transition(step.observation, reward, info)

    def abort(self, reason: str) -> Transition:
        """End the episode because the tools could not be reached: no step, no reward, no outcome."""
        self.lost, self.truncated = reason, True
        info = {"status": int(StatusCode.REQUEST_FAILED), "provenance": "", "reward_terms": {}}
        info |= {"calls_left": self.calls_left, "latency": 0.0, "transport_error": reason}
        return self._transition(f"The tools cannot be asked: {reason}", 0.0, info)

    def truncate(self) -> dict[str, Any]:
        """Truncate the episode. Return the `info` of a last step: `step_rewards`, `outcome` and `trajectory`."""
        self.truncated = True
        return self._last_info()

    def resume(self, steps: Iterable[Step], lost: str = "", truncated: bool = False) -> Self:
        """Append recorded steps and score each again, which restores the scorer's state."""
        for step in steps:
            self._scorer.score(step)
            self._append(step)
        self.lost, self.truncated = lost, truncated or bool(lost)
        return self

    def trajectory(self) -> Trajectory:
        """Trajectory of the episode so far; after its end with the hindsight rewards."""
        steps = tuple(self.steps)
        rewards = tuple([step.reward for step in steps])
        metadata = {"episode_seed": self.seed, **self.config.record()}
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
        self.terminated = step.finished or len(self.steps) >= self.config.call_budget
        if step.ends_turn:
            self._turn += 1

    def _next_turn(self) -> str:
        """Return the text of the user's next turn, for the observation of the step that ends this one."""
        return turn_text(self.task.turns[self._turn], self.config.format, self.config.prompt)

    def _turn_info(self) -> dict[str, Any]:
        """Return the part of `info` that begins a turn: the message, and all functions that are now offered."""
        functions = self.functions
        left = f"{CALLS_LEFT}{self.calls_left}" if self.config.observation == "budget" else ""
        message = self.task.turns[self._turn - 1].message
        return {
            "turn": self._turn,
            "messages": [{"role": "user", "content": f"{message}{left}"}],
            "functions": functions,
            "tools": [{"type": "function", "function": function} for function in functions],
        }

    def _local_step(self) -> Step:
        """Step without a tool call: `Finish`, or a text that is not a call of an offered function."""
        if self._local is None:
            raise RuntimeError("apply_response(None): the call that parse_action returned has no response")
        status, text = self._local
        # The user's next message, after the end of a turn, is not a response and is not cut.
        return Step(self._action, self._observe(text, whole=status is StatusCode.OK), status)

    def _tool_step(self, response: ToolResponse) -> Step:
        self.state = response.state
        body = response.body.decode()
        shown = self._observe(body)
        status = response.outcome.status_code
        return Step(self._action, shown, status, body, response.provenance, result=response.result)

    def _observe(self, text: str, *, whole: bool = False) -> str:
        config = self.config
        length = len(text) if whole else config.max_observation_length
        return observe(text, length, self.calls_left - 1, config.observation)

    def _transition(self, observation: str, reward: float, info: dict[str, Any]) -> Transition:
        if self.over:
            info |= self._last_info()
        return Transition(observation, reward, self.terminated, self.truncated, info)

    def _last_info(self) -> dict[str, Any]:
        trajectory = self.trajectory()
        info: dict[str, Any] = {"step_rewards": trajectory.rewards, "trajectory": trajectory}
        return info if self.lost else info | {"outcome": dict(trajectory.metadata["outcome"])}


def step_episodes(client: ToolClient, moves: Sequence[tuple[Episode, str]]) -> list[Transition]:
    """Take one action in every episode; `client` sends all their calls together.

    A transport error aborts the episode whose call failed and all later episodes that made a call.

    Args:
        client: Client for the tools of these episodes.
        moves: Episodes that are not over, each with its action.

    Returns:
        Transitions in the order of `moves`.

    Raises:
        ConfigurationError: The server has other tools than these episodes offer.
    """
    calls = [episode.parse_action(action) for episode, action in moves]
    responses = client.stream([call for call in calls if call is not None])
    lost = ""
    transitions = []
    for (episode, _), call in zip(moves, calls, strict=True):
        response = None
        if call is not None and not lost:
            try:
                response = next(responses)
            except ToolTransportError as error:
                lost = str(error)
        failed = call is not None and lost
        transitions.append(episode.abort(lost) if failed else episode.apply_response(response))
    return transitions


def _rejection(action: Action, known: bool) -> tuple[StatusCode, str]:
    """Status and body for a text that is not a call of an offered function, in ToolBench's words if it has any."""
    if not action.name:
        error, status = f"No function call can be read: {action.error}.", StatusCode.BAD_INPUT
    elif not known:
        error, status = f"No such function name: {action.name}", StatusCode.NO_SUCH_FUNCTION
    else:
        error, status = PARSE_ERROR, StatusCode.BAD_INPUT
    return status, encode_body(error, "").decode()
