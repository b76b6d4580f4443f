"""The life of an episode on a server that keeps none: read its token, draw its luck, hand on the next token."""

from __future__ import annotations

from collections.abc import Callable

from toolserver.catalog.api_schema import Outcome, ToolResponse
from toolserver.episodes.faults import draw_fault
from toolserver.episodes.state_token import StateCodec
from toolserver.errors import StateTokenError
from toolserver.resolvers.base import ValidatedCall, refuse


class EpisodeFaults:
    """Advances the episode behind each call's token and injects the faults that its level asks for.

    A resolver is given the token of the state *after* the step was counted, so the token that it returns, changed or
    not, is the one to go on with.

    Args:
        codec: Reads and writes the tokens. Resolvers that change the state must share it.
    """

    def __init__(self, codec: StateCodec) -> None:
        self._codec = codec

    def answer(self, call: ValidatedCall, resolve: Callable[[ValidatedCall], ToolResponse]) -> ToolResponse:
        """The answer of the resolvers or an injected fault. A forged token is refused and handed back as it came."""
        try:
            state = self._codec.read(call.state)
        except StateTokenError as error:
            return refuse(Outcome.FORBIDDEN, f"State token refused: {error}.")._replace(state=call.state)
        luck = draw_fault(state, call.tool, call.api)
        token = self._codec.write(luck.state)
        if luck.failure is not None:
            return luck.failure._replace(state=token)
        answer = resolve(call.carrying(token))
        return answer._replace(latency=answer.latency + luck.latency) if luck.latency else answer
