"""What a resolver is: one source of answers, asked in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolResponse, encode_body

PARSE_ERROR = "Tool input parse error...\n"
"""StableToolBench's own words for arguments that are no JSON object."""


class ValidatedCall(NamedTuple):
    """A call as resolvers see it: names standardised, arguments parsed. Resolvers leave `arguments` as they are.

    `key` is the call's canonical key (`toolserver.calls.call_key`). `spec` is `None` when the catalog does not have
    the API (a recording may exist all the same). `state` is the episode's state token as the caller sent it, empty
    where the
    tools keep no state.
    """

    category: str
    tool: str
    api: str
    arguments: dict[str, Any]
    key: bytes
    spec: ApiSpec | None = None
    state: str = ""

    def carrying(self, state: str) -> ValidatedCall:
        """The call with another token. `_replace` takes three times as long, and every call of an episode needs two."""
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

        A resolver that changes an episode's state returns the new token in `ToolResponse.state`; one that does not
        leaves it empty, and the service carries on with the caller's token.
        """
        ...

    def close(self) -> None:
        """Release what the resolver holds; it is not used afterwards."""
        ...


class Faults(Protocol):
    """Stands between the service and its resolvers for calls that carry a state token.

    It advances the episode (its step, its virtual clock) and may answer in place of the resolvers.
    """

    def answer(self, call: ValidatedCall, resolve: Callable[[ValidatedCall], ToolResponse]) -> ToolResponse:
        """The answer to `call`: `resolve(call)` or an injected fault, with the next state token."""
        ...


class ApiLookup(Protocol):
    """What the service needs of a catalog."""

    def get(self, category: str, tool: str, api: str) -> ApiSpec | None:
        """The API of these names (in any spelling that standardises to them), or `None`."""
        ...


def refuse(outcome: Outcome, error: str) -> ToolResponse:
    """The service's own answer to a call that no tool answers, with `error` as its text."""
    return ToolResponse(encode_body(error, ""), outcome, Provenance.SERVICE)
