"""MCP server of a catalog, at `/mcp` of the tool server: its functions as tools, a search, and calls.

The server keeps no session. A call may carry the state token of its episode in `_meta`, and the result carries the next
one, so that any worker or replica answers any call.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import orjson
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from toolserver.catalog.api_schema import ApiSpec, Outcome, ToolCall, ToolResponse
from toolserver.catalog.catalog import Catalog
from toolserver.catalog.views import openai_function
from toolserver.errors import CacheError, DamagedEntryError
from toolserver.http.executor import CallExecutor, Deferred
from toolserver.mcp.results import STATE, answer_result, as_tool, page_of, result_of, unknown_tool
from toolserver.resolvers.base import refuse, refuse_damaged
from toolserver.service.info import package_version

PATH = "/mcp"
SEARCH = "search_functions"
CALL = "call_function"

_PAGE = 200  # tools of one answer to tools/list
_FOUND = 10  # functions that a search returns by default
_MOST = 50
_HINT = f"Find functions with {SEARCH}."

_SEARCH_TOOL = Tool(
    name=SEARCH,
    description=f"Find functions by words of their names and descriptions. Call one that is not listed by {CALL}.",
    input_schema={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words to search for."},
            "limit": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _FOUND},
        },
        "required": ["query"],
    },
)
_CALL_TOOL = Tool(
    name=CALL,
    description=f"Call a function that {SEARCH} found.",
    input_schema={
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Name of the function."},
            "arguments": {"type": "object", "description": "Its arguments, by name."},
        },
        "required": ["name"],
    },
)


class CatalogServer:
    """MCP server of a catalog over streamable HTTP.

    `tools/list` gives the search, the call by name, and every function in pages; with `?functions=a,b` in the address,
    these functions alone; with `?search=only`, the search and the call by name alone. `?state=` is the token of calls
    that carry none, e.g. `open:seed=7:faults=mild`.

    Args:
        catalog: Documentation of the functions. It does not change.
        executor: Answers the calls.
        max_body_bytes: Maximum size of a request body.
    """

    def __init__(self, catalog: Catalog, executor: CallExecutor, max_body_bytes: int) -> None:
        self._catalog = catalog
        self._executor = executor
        server: Server[Any] = Server(
            "toolserver",
            version=package_version(),
            instructions=f"{_HINT} Pass _meta[{STATE!r}] of a result to the next call of an episode.",
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        self.sessions = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=max_body_bytes
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. There are no sessions and no messages from the server, so that only POST is one."""
        if scope["method"] != "POST":
            await Response(status_code=405, headers={"allow": "POST"})(scope, receive, send)
            return
        await self.sessions.asgi_app(scope, receive, send)

    @cached_property
    def _specs(self) -> dict[str, ApiSpec]:
        """APIs by function name, in order. The first of two with one name counts, as in an episode."""
        specs: dict[str, ApiSpec] = {}
        for spec in self._catalog:
            specs.setdefault(spec.function_name, spec)
        return specs

    @cached_property
    def _tools(self) -> list[Tool]:
        return [_SEARCH_TOOL, _CALL_TOOL, *_tools(self._specs.values())]

    async def _list_tools(self, context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        named, search_only = _selection(context.request)
        if named is not None:
            tools = _tools(self._specs[name] for name in named if name in self._specs)
        else:
            tools = [_SEARCH_TOOL, _CALL_TOOL] if search_only else self._tools
        return page_of(tools, params.cursor if params else None, _PAGE)

    async def _call_tool(self, context: Any, params: CallToolRequestParams) -> CallToolResult:
        named, search_only = _selection(context.request)
        name, arguments = params.name, params.arguments or {}
        if named is None and name == SEARCH:
            return self._search(arguments)
        if named is None and name == CALL:
            name, arguments = arguments.get("name"), arguments.get("arguments") or {}
        elif search_only or (named is not None and name not in named):
            return unknown_tool(name, _HINT if named is None else f"There are: {', '.join(named)}.")
        spec = self._specs.get(name) if isinstance(name, str) else None
        if spec is None:
            return unknown_tool(str(name), _HINT)
        state = (params.meta or {}).get(STATE, _query(context.request).get("state", ""))
        if not isinstance(state, str) or not state.isascii():
            return answer_result(refuse(Outcome.FORBIDDEN, f"_meta[{STATE!r}] must be a state token: ASCII text."))
        return answer_result(await self._answer(ToolCall(spec.category, spec.tool, spec.name, arguments, state)))

    async def _answer(self, call: ToolCall) -> ToolResponse:
        try:
            answer = self._executor.start(call, PATH)
            return await answer.get() if isinstance(answer, Deferred) else answer
        except DamagedEntryError as error:
            return refuse_damaged(call, error)
        except CacheError as error:
            return refuse(Outcome.UNAVAILABLE, str(error))

    def _search(self, arguments: dict[str, Any]) -> CallToolResult:
        query, limit = arguments.get("query", ""), arguments.get("limit", _FOUND)
        if not isinstance(query, str) or type(limit) is not int or not 1 <= limit <= _MOST:
            wanted = f"query must be text, and limit an integer from 1 to {_MOST}"
            return result_of(f"Invalid arguments: {wanted}.", {"functions": []}, is_error=True, meta={})
        found = [openai_function(spec) for spec in self._catalog.search(query, limit)]
        return result_of(orjson.dumps(found).decode(), {"functions": found}, is_error=False, meta={})


def _query(request: Request | None) -> Mapping[str, str]:
    return {} if request is None else request.query_params


def _tools(specs: Iterable[ApiSpec]) -> list[Tool]:
    return [as_tool(openai_function(spec)) for spec in specs]


def _selection(request: Request | None) -> tuple[list[str] | None, bool]:
    """Return the functions that the address names, `None` for all, and whether it asks for the search alone."""
    query = _query(request)
    named = query.get("functions")
    return list(dict.fromkeys(named.split(","))) if named is not None else None, query.get("search") == "only"
