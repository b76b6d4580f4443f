"""BFCL's simulated APIs as a resolver of the tool service."""

from collections.abc import Sequence
from dataclasses import replace

from toolserver.bfcl import CATEGORY, Simulator, load_apis, load_tasks
from toolserver.bfcl.simulation import call_text, read_call
from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolResponse, encode_body
from toolserver.episodes.state_token import PUBLIC_KEY, StateCodec
from toolserver.errors import StateTokenError
from toolserver.resolvers.base import Resolver, ValidatedCall, refuse

_LARGEST_STATE = 40_000
"""Maximum length of the calls of an episode, in characters: their token fits into a request even where random texts do
not compress."""


class BfclResolver(Resolver):
    """Answers the calls of BFCL's multi-turn tasks by its own classes.

    The state of an episode is the list of its calls, so that any process continues it. The state token names the task.
    """

    blocking = False
    needs_key = False

    def __init__(self) -> None:
        self._tasks, self._simulator = load_tasks(), Simulator()

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the answer of the simulated API; `None` for APIs of other benchmarks."""
        if call.category != CATEGORY or call.spec is None:
            return None
        state = call.state
        task = self._tasks.get(state.task) if isinstance(state, EpisodeState) else None
        if task is None or not isinstance(state, EpisodeState):
            return refuse(Outcome.INVALID_ARGUMENTS, "BFCL's APIs need a state token that names one of its tasks.")
        if call.spec.tool not in task.classes:
            return refuse(Outcome.INVALID_ARGUMENTS, f"Task {task.id} has no {call.spec.tool}.")
        text = call_text(call.spec.name, call.arguments)
        if len(text) + sum(map(len, state.changes)) > _LARGEST_STATE:
            return refuse(Outcome.INVALID_ARGUMENTS, "The arguments of this episode's calls are too long.")
        try:
            answer = self._simulator.answer(task, state.changes, text)
        except (LookupError, ValueError, TypeError) as error:
            return refuse(Outcome.FORBIDDEN, f"State refused: {error}.")
        body = encode_body(answer.error, answer.value)
        return ToolResponse(
            body, answer.outcome, Provenance.WORLD, replace(state, changes=(*state.changes, text)), 0.0, answer
        )


def bfcl_codec(key: bytes = PUBLIC_KEY) -> StateCodec:
    """Return the codec of the tokens of BFCL's episodes. It rejects those of other tools."""
    return StateCodec(key, CATEGORY, _check_calls)


def _check_calls(changes: Sequence[object]) -> None:
    """Raise `StateTokenError` for changes in a token that are not calls of BFCL's functions."""
    try:
        for change in changes:
            if not isinstance(change, str) or read_call(change)[0] not in load_apis():
                raise ValueError(f"{change!r:.40} is not a call of BFCL")
    except (ValueError, RecursionError) as error:
        raise StateTokenError(f"changes: {error}") from None
