"""What a resolver is: one source of answers, asked in turn."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolResponse, encode_body

PARSE_ERROR = "Tool input parse error...\n"
"""StableToolBench's own words for arguments that are no JSON object."""


class ValidatedCall(NamedTuple):
    """A call with standardised names and parsed arguments. Resolvers do not change `arguments`.

    Attributes:
        category: Standardised category.
        tool: Standardised tool.
        api: Standardised API name.
        arguments: The parsed arguments.
        key: Canonical key of the call (`toolserver.calls.call_key`).
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

    `blocking` says that an answer may take longer than a request should hold the event loop (an upstream call). Such
    resolvers run on threads, so they must be safe to call from several at once.

    A failing tool is an answer like any other: a resolver returns it with its outcome and does not raise.
    """

    blocking: bool

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """The answer to `call`, or `None` to let the next resolver try.

        A resolver that changes the episode's state returns the new one in `ToolResponse.state`; if it is empty, the
        service fills in the state of `call`.
        """
        ...

    def close(self) -> None:
        """Release what the resolver holds; it is not used afterwards."""
        ...


class ApiLookup(Protocol):
    """What the service needs of a catalog."""

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """The API of these names (in any spelling that standardises to them), or `None`."""
        ...


def refuse(outcome: Outcome, error: str) -> ToolResponse:
    """The service's own answer to a call that no tool answers, with `error` as its text."""
    return ToolResponse(encode_body(error, ""), outcome, Provenance.SERVICE)
