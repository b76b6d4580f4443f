"""Functions as MCP tools, and answers as MCP results."""

import json
from collections.abc import Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, ListToolsResult, TextContent, Tool

from toolserver.catalog.api_schema import Outcome, ToolResponse

STATE = "steptool/state"
"""Key of `_meta` in a call and in its result: the state token of the episode, before and after the call."""


def as_tool(function: Mapping[str, Any]) -> Tool:
    """Return a function of `info["functions"]` or `openai_function` as an MCP tool."""
    schema = {key: value for key, value in function["parameters"].items() if key != "optional"}
    return Tool(name=function["name"], description=function.get("description", ""), input_schema=schema)


def page_of(tools: list[Tool], cursor: str | None, size: int) -> ListToolsResult:
    """Return the page at `cursor`, the position of its first tool as text; without one, the first page.

    Raises:
        MCPError: The cursor belongs to no page: invalid parameters, in the protocol.
    """
    if cursor and cursor not in map(str, range(size, len(tools), size)):
        raise MCPError(INVALID_PARAMS, f"cursor={cursor!r:.80}: belongs to no page; list again without it")
    start = int(cursor) if cursor else 0
    following = str(start + size) if start + size < len(tools) else None
    return ListToolsResult(tools=tools[start : start + size], next_cursor=following)


def result_of(text: str, structured: Mapping[str, Any], *, is_error: bool, meta: Mapping[str, Any]) -> CallToolResult:
    """Return the result of a call: its text for the model, and JSON values for the program around it."""
    return CallToolResult(
        content=[TextContent(text=text)],
        structured_content=dict(structured),
        is_error=is_error,
        _meta=dict(meta) or None,
    )


def answer_result(response: ToolResponse) -> CallToolResult:
    """Return a tool server's answer as a result. Its text is the body, byte for byte."""
    structured = {
        "outcome": str(response.outcome),
        "status": int(response.outcome.status_code),
        "provenance": str(response.provenance),
        "latency": response.latency,
    }
    meta = {STATE: response.state} if response.state else {}
    return result_of(response.body.decode(), structured, is_error=response.outcome is not Outcome.OK, meta=meta)


def unknown_tool(name: str, hint: str) -> CallToolResult:
    """Return the result of a call of a tool that is not offered: an error that the model reads."""
    text = json.dumps({"error": f"No such function name: {name}", "response": hint}, ensure_ascii=False)
    return result_of(text, {"outcome": str(Outcome.UNKNOWN_API), "status": 1}, is_error=True, meta={})
