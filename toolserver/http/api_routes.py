"""The routes that say which APIs exist."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from toolserver.catalog.views import arguments_schema, documentation, openai_function
from toolserver.http.dependencies import CatalogDep
from toolserver.http.models import ApiDetail, ApiPage, Problem

router = APIRouter(prefix="/v1/apis", tags=["apis"])


# Plain functions, which FastAPI runs on threads: the first search builds an index.
@router.get("", summary="Search or list APIs")
def search(
    catalog: CatalogDep,
    q: Annotated[str, Query(max_length=400, description="Words to search for; empty lists all APIs.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> ApiPage:
    """APIs by relevance to the words of `q` (BM25), or all of them in order of their names."""
    found = catalog.search(q, limit, offset)
    return ApiPage(total=len(catalog), offset=offset, apis=[documentation(spec) for spec in found])


@router.get("/{category}/{tool}/{api}", responses={404: {"model": Problem}}, summary="One API")
def detail(category: str, tool: str, api: str, catalog: CatalogDep) -> ApiDetail:
    """Documentation and schemas of one API, by names in any spelling that standardises to them."""
    spec = catalog.get(category, tool, api)
    if spec is None:
        raise HTTPException(404, f"no API {api!r} of tool {tool!r} in category {category!r}; see /v1/apis?q=")
    return ApiDetail(
        documentation=documentation(spec), function=openai_function(spec), arguments=arguments_schema(spec)
    )
