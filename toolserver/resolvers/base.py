"""Interfaces of resolvers: sources of answers, called in turn."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.errors import DamagedEntryError

PARSE_ERROR = "Tool input parse error...\n"
"""StableToolBench's error text for arguments that are not a JSON object."""


class ValidatedCall(NamedTuple):
    """A call with standardised names and parsed arguments. Resolvers do not change `arguments`.

    Attributes:
        category: Standardised category.
        tool: Standardised tool.
        api: Standardised API name.
        arguments: The parsed arguments.
        key: Canonical key of the call (`toolserver.calls.call_key`); see `Resolver`.
        spec: Documentation of the API; `None` when the catalog does not have it (a recording may exist nevertheless).
        state: State of the episode, with this call counted; empty when the call carries none.
    """

    category: str
    tool: str
    api: str
    arguments: dict[str, Any]
    key: bytes
    spec: ApiSpec | None = None
    state: EpisodeState | str = ""

    def carrying(self, state: EpisodeState | str) -> ValidatedCall:
        """Return the call with another state, three times as fast as `_replace`."""
        category, tool, api, arguments, key, spec, _ = self
        return ValidatedCall(category, tool, api, arguments, key, spec, state)


class Resolver(Protocol):
    """One source of answers: recordings, a world, templates, a model, an upstream server.

    Attributes:
        blocking: True if an answer may take too long for the event loop (an upstream call). Such resolvers run on
            threads, so they must be thread-safe.

    A resolver that does not read the `key` of a call may have `needs_key = False`: the key is empty in a service whose
    resolvers all do without.

    A resolver does not raise for a failing tool: it returns the failure with its outcome.
    """

    blocking: bool

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the answer to `call`, or `None` to call the next resolver.

        A resolver that changes the episode's state returns the new one in `ToolResponse.state`; if it is empty, the
        service fills in the state of `call`.
        """

    def close(self) -> None:
        """Release the resources, by default none. The resolver cannot be used afterwards."""
        return


class ApiLookup(Protocol):
    """Catalog of APIs, as the service uses it."""

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """Return the API with these names (in any spelling that standardises to them), or `None`."""


def refuse(outcome: Outcome, error: str) -> ToolResponse:
    """Return an answer of the service itself, with an error text, to a call that no tool answers."""
    return ToolResponse(encode_body(error, ""), outcome, Provenance.SERVICE)


def refuse_damaged(call: ToolCall, error: DamagedEntryError) -> ToolResponse:
    """Return the answer to a call of a batch whose recording is damaged; the other calls are answered."""
    return refuse(Outcome.FAILED, str(error))._replace(state=call.state)
