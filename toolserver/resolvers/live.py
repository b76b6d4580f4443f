"""Asks a server that still reaches the real APIs, by StableToolBench's `/rapidapi` protocol."""

from __future__ import annotations

from typing import Any

from toolserver.catalog.api_schema import Provenance, ToolResponse, encode_body
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.resolvers.base import ValidatedCall
from toolserver.resolvers.upstream import UnusableAnswerError, Upstream


class LiveResolver:
    """Passes calls on to an upstream `/rapidapi` (or `/virtual`) server.

    Args:
        url: The endpoint.
        key: The `toolbench_key` that the upstream server knows.
        timeout: Seconds to wait for one answer.
        retries: How many more times to ask after a failure that may pass.
    """

    blocking = True

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, retries: int = 2) -> None:
        self._key = key
        self._upstream = Upstream(url, {"toolbench_key": key}, timeout=timeout, retries=retries)

    def resolve(self, call: ValidatedCall) -> ToolResponse:
        """The upstream server's answer, typed by its error text, or a failure of our own."""
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
        raise UnusableAnswerError('expected {"error": ..., "response": ...}')
    error = str(answer["error"] or "")
    return ToolResponse(encode_body(error, answer["response"]), outcome_of_error(error), Provenance.LIVE)
