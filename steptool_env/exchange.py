"""One step of many episodes with one exchange with the tools."""

from __future__ import annotations

from collections.abc import Sequence

from steptool_env.client import ToolClient
from steptool_env.episode import Episode, Transition
from steptool_env.errors import ToolTransportError


def advance(client: ToolClient, moves: Sequence[tuple[Episode, str]]) -> list[Transition]:
    """Take one action in every episode; `client` carries all their calls together.

    When the calls are lost, so is every episode that made one; the others take their step.

    Args:
        client: The way to the tools of all these episodes.
        moves: Episodes that are not over, each with its action.

    Returns:
        What each step came to, in the order of `moves`.
    """
    calls = [episode.begin(action) for episode, action in moves]
    carried = {index: call for index, call in enumerate(calls) if call is not None}
    try:
        answers = client.call_many(tuple(carried.values())) if carried else []
    except ToolTransportError as error:
        reason = str(error)
        return [
            episode.lose(reason) if index in carried else episode.end(None) for index, (episode, _) in enumerate(moves)
        ]
    responses = dict(zip(carried, answers, strict=True))
    return [episode.end(responses.get(index)) for index, (episode, _) in enumerate(moves)]
