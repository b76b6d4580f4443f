"""Routes that list the APIs and identify the server."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from toolserver.catalog.views import arguments_schema, documentation, openai_function
from toolserver.http.models import ApiDetail, ApiPage, Problem
from toolserver.service.factory import Assembly
from toolserver.service.info import ServerInfo

router = APIRouter(prefix="/v1")


# Synchronous functions, which FastAPI runs on threads: the first search builds an index, the first request of
# `/v1/info` computes a digest.
@router.get("/apis", tags=["apis"], summary="Search or list APIs")
def search(
    request: Request,
    q: Annotated[str, Query(max_length=400, description="Words to search for; empty lists all APIs.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> ApiPage:
    """APIs by relevance to the words of `q` (BM25), or all of them in order of their names."""
    assembly: Assembly = request.app.state.assembly
    found = assembly.catalog.search(q, limit, offset)
    return ApiPage(total=len(assembly.catalog), offset=offset, apis=[documentation(spec) for spec in found])


@router.get("/apis/{category}/{tool}/{api}", tags=["apis"], responses={404: {"model": Problem}}, summary="One API")
def detail(request: Request, category: str, tool: str, api: str) -> ApiDetail:
    """Documentation and schemas of one API, by names in any spelling that standardises to them."""
    assembly: Assembly = request.app.state.assembly
    spec = assembly.catalog.get(category, tool, api)
    if spec is None:
        raise HTTPException(404, f"no API {api!r} of tool {tool!r} in category {category!r}; see /v1/apis?q=")
    return ApiDetail(
        documentation=documentation(spec), function=openai_function(spec), arguments=arguments_schema(spec)
    )


@router.get("/info", tags=["info"], summary="Version and content of the server")
def info(request: Request) -> ServerInfo:
    """Package version, kind of tools, world and digest. A client compares them with its own at its first call."""
    found: ServerInfo = request.app.state.info()
    return found
