"""Routes of the pages of tools: search a catalog, read an API, see its recorded calls, try a call."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from agents.view.pages.rendering import Pages
from agents.view.tool_sources import Catalogues
from steptool_env.errors import ConfigurationError
from toolserver.catalog.views import arguments_schema

router = APIRouter(default_response_class=HTMLResponse)

PAGE = 25
"""APIs of one page."""


@router.get("/tools")
def tools(request: Request, source: str = "", world_seed: int = 0, text: str = "", start: int = 0) -> HTMLResponse:
    """Show a catalog, or the APIs that match a text."""
    pages, catalogues = _parts(request)
    name = source or catalogues.names[0]
    catalog = catalogues.source(name, _seed(world_seed))
    found = catalog.search(text[:500], max(0, start), PAGE + 1)
    page = pages.render(
        "tools.html.j2",
        page="tools",
        found=found[:PAGE],
        more=len(found) > PAGE,
        size=catalog.size,
        sources=catalogues.names,
        has_seeds=catalogues.has_seeds,
        query={"source": name, "world_seed": world_seed, "text": text},
        start=max(0, start),
        step=PAGE,
    )
    return HTMLResponse(page)


@router.get("/tool")
def tool(
    request: Request,
    source: str,
    category: str,
    tool: str,
    api: str,
    world_seed: int = 0,
    arguments: str | None = None,
) -> HTMLResponse:
    """Show an API, its recorded calls, and the answer to a call with `arguments`."""
    pages, catalogues = _parts(request)
    catalog = catalogues.source(source, _seed(world_seed))
    spec = catalog.find(category, tool, api)
    recordings, count = catalog.recordings(spec)
    page = pages.render(
        "tool.html.j2",
        page="tools",
        spec=spec,
        schema=json.dumps(arguments_schema(spec), indent=2, ensure_ascii=False),
        recordings=recordings,
        count=count,
        source=source,
        world_seed=world_seed,
        arguments=arguments,
        answer=None if arguments is None else catalog.call(spec, arguments),
    )
    return HTMLResponse(page)


def _parts(request: Request) -> tuple[Pages, Catalogues]:
    pages: Pages = request.app.state.pages
    catalogues: Catalogues = request.app.state.catalogues
    return pages, catalogues


def _seed(world_seed: int) -> int:
    if world_seed < 0:
        raise ConfigurationError(f"world_seed={world_seed}: must be at least 0")
    return world_seed
