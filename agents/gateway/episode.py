"""Episode of a harness: its turns token by token, its steps, and the turns to which their rewards belong."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from agents.gateway.chat import OnTokens
from agents.gateway.conversations import Conversations, EpisodePrompt, Prompt, Turn
from agents.gateway.decoder import check_room
from agents.gateway.protocol import ApiError, ChatRequest
from agents.models.chat_template import Codec
from agents.rollout.collector import INVALID, state_hash
from agents.rollout.types import End, Sampled, TokenEpisode, episode_metrics
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ToolTransportError
from steptool_env.formats import make_format
from steptool_env.types import FINISH, FINISHED, GIVE_ANSWER
from toolserver.calls.json_parsing import parse

OVER = "The episode is over."
"""Answer to calls and chats after the end of an episode."""

Outcome = Literal["returned", "raised", "timed_out"]
"""End of a harness: it returned, raised an exception, or took too long."""


@dataclass(eq=False)
class TurnRequest:
    """Request of an episode for an answer of the model; see `agents.gateway.chat.Asked`."""

    episode: "HarnessEpisode"
    ids: list[int]
    future: Future[Sampled] = field(default_factory=Future)
    cached: int = 0

    def refuse(self) -> None:
        """Answer that the episode has ended."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(episode_ended())


@dataclass(eq=False)
class StepRequest:
    """Request of an episode for a step of the environment. `turn` is the number of the turn that asked for it."""

    episode: "HarnessEpisode"
    action: str
    turn: int | None
    future: Future[Transition | None] = field(default_factory=Future)


@dataclass(eq=False)
class HarnessEnd:
    """End of a harness: its outcome, the answer that it returned, and the error that it raised."""

    episode: "HarnessEpisode"
    outcome: Outcome
    answer: str | None = None
    error: str = ""


Event = TurnRequest | StepRequest | HarnessEnd


class HarnessEpisode:
    """Episode that a harness plays, as chat backend (`ChatBackend`) and as MCP session (`TaskSession`).

    Args:
        observation: Observation of the environment's reset.
        info: `info` of the reset.
        codec: Codec of the policy.
        context: Context length in tokens.
        post: Takes requests for turns and steps, in any thread; it resolves their futures.

    Attributes:
        functions: Functions that are now offered, in OpenAI's schema. A later turn of the user may add some.
        turns: Answers of the model, in order.
        lost: Reason why the tools cannot be reached; empty otherwise.
        context_full: True after a chat that left no room for an answer.
    """

    name = "policy"

    def __init__(
        self, observation: str, info: Mapping[str, Any], codec: Codec, context: int, post: Callable[[Event], None]
    ) -> None:
        self.messages: Sequence[Mapping[str, str]] = info.get("messages") or [{"role": "user", "content": observation}]
        self.functions: Sequence[Mapping[str, Any]] = info.get("functions", ())
        self.task_id = str(info.get("task_id", ""))
        self.turns: list[Turn] = []
        self.lost, self.context_full, self.closed = "", False, False
        self.transition: Transition | None = None  # of the last step
        self._format = make_format(str(info.get("format") or "react"))
        self.conversations = Conversations(codec, self._format, EpisodePrompt(self.messages, observation, info))
        self._context, self._post = context, post
        self._observation = observation
        self._steps: list[tuple[int | None, float, int]] = []  # turn, reward and status of each
        self._lock = threading.Lock()
        self._claimed: set[int] = set()  # turns whose call was made

    @property
    def over(self) -> bool:
        """True after the last step of the environment."""
        last = self.transition
        return bool(self.lost) or (last is not None and (last.terminated or last.truncated))

    def begin(self, prompt: Prompt, request: ChatRequest, choice: int, on_tokens: OnTokens | None) -> TurnRequest:  # noqa: ARG002
        """See `ChatBackend.begin`. The run decides the distribution, so that of the request is not used."""
        with self._lock:
            if self.closed:
                raise episode_ended()
            asked = TurnRequest(self, prompt.ids)
            if self.over:
                prompt.counts = False
                ids = self.conversations.codec.encode_action(OVER)
                asked.future.set_result(Sampled(ids, [0.0] * len(ids), stopped=True))
                return asked
            try:
                check_room(len(prompt.ids), self._context)
            except ApiError:
                self.context_full = True
                raise
            prompt.state = self._observation
            self._post(asked)
            return asked

    def record(self, prompt: Prompt, sampled: Sampled, text: str, choice: int) -> Turn:
        """See `ChatBackend.record`."""
        with self._lock:
            turn = self.conversations.record(prompt, sampled, text if prompt.counts else OVER, choice)
            if prompt.counts and not self.closed:
                turn.number = len(self.turns)
                self.turns.append(turn)
            return turn

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> Transition | None:
        """See `TaskSession.call`. `arguments` may be JSON text.

        The step belongs to the latest turn that asks for this call, and has not made it: the environment then reads the
        model's own text. Where none asks for it with these arguments, it belongs to one that asks for the function,
        else to the last turn.
        """
        with self._lock:
            turn = self._turn_of(name, arguments)
            exact = turn is not None and self._asks(turn, name, arguments)
            action = turn.text if turn is not None and exact else self._format.render(name, arguments)
            request = self._request(action, turn)
        return self._result(request)

    def step(self, text: str) -> Transition | None:
        """Step the environment with a text, of the latest turn that wrote it, else of the last turn."""
        with self._lock:
            pending = [turn for turn in self.turns if turn.number not in self._claimed and turn.text == text]
            turn = _last(pending or self.turns)
            request = self._request(text, turn)
        return self._result(request)

    def answer(self, text: str) -> StepRequest | None:
        """Return the step that ends the episode with an answer; `None` where the task has no `Finish`."""
        if not any(function["name"] == FINISH for function in self.functions):
            return None
        arguments = json.dumps({"return_type": GIVE_ANSWER, "final_answer": text}, ensure_ascii=False)
        turn = self.turns[-1].number if self.turns else None
        return StepRequest(self, self._format.render(FINISH, arguments), turn)

    def apply(self, request: StepRequest, transition: Transition) -> None:
        """Take the result of a step, before its future has it."""
        with self._lock:
            self.transition = transition
            if "transport_error" in transition.info:
                self.lost = str(transition.info["transport_error"])
                return
            self._observation = transition.observation
            self.functions = transition.info.get("functions", self.functions)
            status = int(transition.info.get("status", 0))
            self._steps.append((request.turn, float(transition.reward), status))

    def close(self) -> None:
        """End the episode: later chats are refused, later steps are not made."""
        with self._lock:
            self.closed = True

    def _request(self, action: str, turn: Turn | None) -> StepRequest | None:
        """Request a step for a turn, which it claims; the lock is held since the turn was chosen."""
        if self.closed or self.over:
            return None
        if turn is not None:
            self._claimed.add(turn.number)
        request = StepRequest(self, action, None if turn is None else turn.number)
        self._post(request)
        return request

    def _result(self, request: StepRequest | None) -> Transition | None:
        """Wait for the result of a step."""
        if request is None:
            return None
        transition = request.future.result()
        if transition is not None and "transport_error" in transition.info:
            raise ToolTransportError(str(transition.info["transport_error"]))
        return transition

    def _turn_of(self, name: str, arguments: Any) -> Turn | None:
        pending = [turn for turn in self.turns if turn.number not in self._claimed]
        exact = [turn for turn in pending if self._asks(turn, name, arguments)]
        named = [turn for turn in pending if self._format.parse(turn.text).name == name]
        return _last(exact or named or self.turns)

    def _asks(self, turn: Turn, name: str, arguments: Any) -> bool:
        """Return whether a turn that has not made its call asks for this one."""
        action = self._format.parse(turn.text)
        if turn.number in self._claimed or action.error or action.name != name:
            return False
        return bool(_json(action.arguments or "{}") == _json(arguments))

    # The episode as token sequences

    def sequences(self, end: End, info: Mapping[str, Any], group: int, outcome: HarnessEnd) -> list[TokenEpisode]:
        """Return the token sequences of the episode: one, or several where the harness rewrote the history.

        Every turn is an action of one sequence. The reward of an action is that of all steps of its turn and of later
        turns up to the next action of its sequence, so that the rewards after an action are those of the episode.
        """
        steps = self._steps
        rewards = [float(reward) for reward in info.get("step_rewards", [step[1] for step in steps])]
        by_turn: list[list[float]] = [[] for _ in self.turns]
        for (turn, _, _), reward in zip(steps, rewards, strict=True):
            if turn is not None:
                by_turn[turn].append(reward)
        finished = end == "terminated" and (not steps or steps[-1][2] in FINISHED)
        invalid = sum(step[2] in INVALID for step in steps)
        metrics = episode_metrics(info.get("outcome") or {}, rewards, invalid=invalid, finished=finished)
        rows = self._rows()
        longest = max((len(row[-1].prompt) + len(row[-1].sampled.ids) for row in rows), default=0)
        metrics |= {"tokens": float(longest), "context_full": float(end == "context"), "turns": float(len(self.turns))}
        metrics["sequences"] = float(len(rows))
        trajectory = info.get("trajectory")
        if trajectory is not None:
            harness = {"outcome": outcome.outcome, **({"error": outcome.error} if outcome.error else {})}
            trajectory = replace(trajectory, metadata={**trajectory.metadata, "harness": harness})
        return [
            TokenEpisode(
                ids=(*row[-1].prompt, *row[-1].sampled.ids),
                spans=tuple((len(turn.prompt), len(turn.prompt) + len(turn.sampled.ids)) for turn in row),
                log_probs=tuple(score for turn in row for score in turn.sampled.log_probs),
                rewards=tuple(
                    sum((reward for paid in by_turn[turn.number : following] for reward in paid), 0.0)
                    for turn, following in zip(row, [*(turn.number for turn in row[1:]), len(self.turns)], strict=True)
                ),
                end=end if row[-1] is self.turns[-1] else "terminated",
                group=group,
                state_hashes=tuple(state_hash(self.task_id, turn.state) for turn in row),
                metrics=metrics,
                hidden=_hidden(row),
                part=part,
                trajectory=None if part else trajectory,
            )
            for part, row in enumerate(rows)
        ]

    def _rows(self) -> list[list[Turn]]:
        """Return the turns of each token sequence: a turn extends the sequence that its parent ends, or begins one."""
        rows: list[list[Turn]] = []
        for turn in self.turns:
            extended = next((row for row in rows if row[-1] is turn.parent), None)
            if extended is None:
                rows.append([turn])
            else:
                extended.append(turn)
        return rows


def episode_ended() -> ApiError:
    """Return the error of a chat after the end of its episode."""
    return ApiError("the episode has ended; stop the agent", code="episode_ended", status=410)


def _last(turns: Sequence[Turn]) -> Turn | None:
    return turns[-1] if turns else None


def _json(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return parse(arguments)
    except ValueError:
        return arguments


def _hidden(row: Sequence[Turn]) -> Any:
    states = [turn.sampled.hidden for turn in row]
    return None if any(state is None for state in states) else np.concatenate([s for s in states if s is not None])
