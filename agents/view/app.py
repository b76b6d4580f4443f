"""The application of the page: its routes, headers and events; read-only and for this machine alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.view.pages import episodes, runs, tasks, tools
from agents.view.pages.rendering import HERE, PREFIX, VERSION, Pages
from agents.view.tool_sources import Catalogues
from agents.view.workspace import Workspace
from steptool_env.errors import DataError, StepToolError

SECTIONS = {"runs": "/", "episodes": "/episodes", "tasks": "/tasks", "tools": "/tools"}
_POLL = 0.25  # seconds between two looks of an event stream at the workspace

_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; connect-src 'self'; "
        b"img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers of every response. Plots carry their colours in `style` attributes, which no text of a run can set."""


def create_app(
    workspace: Workspace, hosts: tuple[str, ...] = ("127.0.0.1", "localhost"), *, cache: Path | None = None
) -> FastAPI:
    """Return the application.

    Args:
        workspace: Runs and episodes to show.
        hosts: Names that a request may address, so that no other site can read the page through a name of its own.
        cache: Directory of recorded calls that the page of tools shows.
    """
    app = FastAPI(title="steptool view", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.pages, app.state.catalogues = Pages(workspace, "steptool view", SECTIONS), Catalogues(cache)
    app.state.world = None
    app.add_middleware(PageHeaders, workspace=workspace)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(runs.router)
    app.include_router(episodes.router)
    app.include_router(tasks.router)
    app.include_router(tools.router)
    add_problem_pages(app)

    @app.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[ServerSentEvent]:
        """Stream an event `changed` whenever a run or the index has changed."""
        seen = -1
        while not workspace.closed:
            if workspace.version != seen:
                seen = workspace.version
                yield ServerSentEvent(event="changed", data=seen)
            await asyncio.sleep(_POLL)

    return app


def add_problem_pages(app: FastAPI) -> None:
    """Show errors of a request as a page."""
    app.add_exception_handler(StepToolError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _problem(request: Request, error: Exception) -> Response:
    """Show an error of a run's data or of a request; inside a page as a fragment, which htmx swaps in."""
    pages: Pages = request.app.state.pages
    if request.headers.get("hx-request"):
        return HTMLResponse(pages.render("problem.html.j2", problem=str(error)))
    return HTMLResponse(pages.render("problem_page.html.j2", problem=str(error), page=""), 404)


async def _invalid(request: Request, error: Exception) -> Response:
    """Name the values of the address that have another form."""
    assert isinstance(error, RequestValidationError)
    problems = (f"{item['loc'][-1]}={item.get('input')!r:.80}: {item['msg']}" for item in error.errors())
    return await _problem(request, DataError("; ".join(problems)))


def _is_embedded_elsewhere(headers: dict[bytes, bytes]) -> bool:
    """Return whether a browser makes a request for a page of another site, other than by following a link.

    A GET of such a page has no `Origin`. It cannot read the answer, but make this process work: on a world, a fork, or
    with a login that the browser knows. Clients that are not browsers send no such headers.
    """
    return headers.get(b"sec-fetch-site") == b"cross-site" and headers.get(b"sec-fetch-dest") != b"document"


class PageHeaders:
    """Middleware that adds `_HEADERS` to every response. Notes version of the workspace and prefix of addresses.

    Requests that another site's page makes, as for an image, are refused.
    """

    def __init__(self, app: ASGIApp, workspace: Workspace | None = None) -> None:
        self._app, self._workspace = app, workspace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = [*message.get("headers", ()), *_HEADERS]
                message = {**message, "headers": headers}
            await send(message)

        if scope["type"] == "http" and _is_embedded_elsewhere(dict(scope["headers"])):
            refusal = PlainTextResponse("A page of another site may link to this one, and no more.", 403)
            await refusal(scope, receive, send_with_headers)
            return
        VERSION.set(-1 if self._workspace is None else self._workspace.version)
        PREFIX.set(scope.get("root_path", ""))
        await self._app(scope, receive, send_with_headers)
