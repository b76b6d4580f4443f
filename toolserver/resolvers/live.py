"""Resolver that calls the real APIs through a server with StableToolBench's `/rapidapi` protocol."""

from typing import Any

from toolserver.catalog.api_schema import Provenance, ToolResponse, encode_body
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.resolvers.base import ValidatedCall
from toolserver.resolvers.upstream import UnusableResponseError, Upstream


class LiveResolver:
    """Forwards calls to an upstream `/rapidapi` (or `/virtual`) server.

    Args:
        url: URL of the endpoint.
        key: `toolbench_key` for the upstream server.
        timeout: Timeout of one request in seconds.
        retries: Maximum number of retries after a transient failure.
    """

    blocking = True

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, retries: int = 2) -> None:
        self._key = key
        self._upstream = Upstream(url, {"toolbench_key": key}, timeout=timeout, retries=retries)

    def resolve(self, call: ValidatedCall) -> ToolResponse:
        """Return the upstream server's answer, with the outcome of its error text, or a failure to reach the server."""
        payload = {
            "category": call.category,
            "tool_name": call.tool,
            "api_name": call.api,
            "tool_input": call.arguments,
            "strip": "",
            "toolbench_key": self._key,
        }
        return self._upstream.ask(payload, _read)

    def close(self) -> None:
        """Close the connection to the upstream server."""
        self._upstream.close()


def _read(answer: Any) -> ToolResponse:
    if not isinstance(answer, dict) or not {"error", "response"} <= answer.keys():
        raise UnusableResponseError('expected {"error": ..., "response": ...}')
    error = str(answer["error"] or "")
    return ToolResponse(encode_body(error, answer["response"]), outcome_of_error(error), Provenance.LIVE)
