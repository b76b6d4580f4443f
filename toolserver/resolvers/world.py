"""ToolWorld as a resolver of the tool service."""

from __future__ import annotations

from dataclasses import replace

from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolResponse, encode_body
from toolserver.episodes.state_token import EpisodeState, StateCodec
from toolserver.errors import StateTokenError
from toolserver.resolvers.base import ValidatedCall, refuse
from toolserver.world.changes import NO_CHANGES, Changes
from toolserver.world.vendors import VendorRegistry


def delta_of(state: EpisodeState) -> Changes:
    """The changes that an episode has made. Its seed and task salt the ids and tokens that the world gives out."""
    return Changes.from_json(state.delta, salt=f"{state.seed}/{state.task}")


class WorldResolver:
    """Answers the calls of a world's vendors.

    A call without a state token sees the world unchanged, and what it writes is confirmed and forgotten.

    Args:
        vendors: The vendors of a world.
        codec: Reads and writes state tokens; the same one that the service's episodes use.
    """

    blocking = False

    def __init__(self, vendors: VendorRegistry, codec: StateCodec) -> None:
        self._vendors = vendors
        self._codec = codec

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """The documentation of an API, so that the resolver is the service's catalog, too."""
        found = self._vendors.find(category, tool, api)
        return None if found is None else found.spec

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """The vendor's answer; `None` when the API is not of this world."""
        api = self._vendors.find(call.category, call.tool, call.api)
        if api is None:
            return None
        try:
            state = self._codec.read(call.state) if call.state else None
            delta = NO_CHANGES if state is None else delta_of(state)
        except (StateTokenError, ValueError) as error:
            return refuse(Outcome.FORBIDDEN, f"State token refused: {error}.")
        answer = api.answer(self._vendors.world, call.arguments, delta)
        body = encode_body(answer.error, answer.response)
        token = call.state
        if state is not None and answer.delta is not delta:
            token = self._codec.write(replace(state, delta=answer.delta.to_json()))
        return ToolResponse(body, answer.outcome, Provenance.WORLD, token)

    def close(self) -> None:
        """Nothing is held."""
