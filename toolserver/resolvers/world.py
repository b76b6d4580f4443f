"""ToolWorld as a resolver of the tool service."""

from dataclasses import replace

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolResponse, encode_body
from toolserver.resolvers.base import Resolver, ValidatedCall, refuse
from toolserver.world.changes import NO_CHANGES, Changes
from toolserver.world.vendors import VendorRegistry


def changes_of(state: EpisodeState) -> Changes:
    """Return the changes of an episode. Its seed and task salt the ids and tokens that the world creates."""
    return Changes.from_json(state.changes, salt=f"{state.seed}/{state.task}")


class WorldResolver(Resolver):
    """Answers the calls of a world's vendors.

    A call without state reads the unchanged world; its writes are confirmed and discarded.
    """

    blocking = False
    needs_key = False

    def __init__(self, vendors: VendorRegistry) -> None:
        self._vendors = vendors

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """Return the documentation of an API: the resolver is also the catalog of a service of one world."""
        found = self._vendors.find(category, tool, api)
        return None if found is None else found.spec

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the vendor's answer; `None` when the API is not of this world."""
        api = self._vendors.at(call.category, call.tool, call.api)
        if api is None:
            return None
        state, changes = call.state, NO_CHANGES
        if isinstance(state, EpisodeState):
            try:
                changes = changes_of(state)
            except ValueError as error:
                return refuse(Outcome.FORBIDDEN, f"State refused: {error}.")
        elif state:
            return refuse(Outcome.FORBIDDEN, "State refused: the state token was not decoded.")
        answer = api.answer(self._vendors.world, call.arguments, changes)
        if answer.changes is not changes and isinstance(state, EpisodeState):
            state = replace(state, changes=answer.changes.to_json())
        body = encode_body(answer.error, answer.response)
        return ToolResponse(body, answer.outcome, Provenance.WORLD, state, 0.0, answer)
