"""One step of many episodes, whose calls are carried together."""

from __future__ import annotations

from collections.abc import Sequence

from steptool_env.client import ToolClient
from steptool_env.episodes.episode import Episode, Transition
from steptool_env.errors import ToolTransportError


def step_episodes(client: ToolClient, moves: Sequence[tuple[Episode, str]]) -> list[Transition]:
    """Take one action in every episode; `client` carries all their calls together.

    When a call is lost, so are its episode and those behind it that made one; the others take their step.

    Args:
        client: The way to the tools of all these episodes.
        moves: Episodes that are not over, each with its action.

    Returns:
        What each step came to, in the order of `moves`.
    """
    calls = [episode.begin(action) for episode, action in moves]
    answers = client.stream(tuple(call for call in calls if call is not None))
    lost = ""
    transitions = []
    for (episode, _), call in zip(moves, calls, strict=True):
        response = None
        if call is not None and not lost:
            try:
                response = next(answers)
            except ToolTransportError as error:
                lost = str(error)
        transitions.append(episode.lose(lost) if call is not None and lost else episode.end(response))
    return transitions
