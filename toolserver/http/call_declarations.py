"""Declarations of the routes that call tools, for the OpenAPI document. `call_routes.CallRoutes` answers them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException
from pydantic import WithJsonSchema

from toolserver.http.models import CallRequest, CallResponse, Problem, VirtualRequest, VirtualResponse

router = APIRouter(tags=["calls"])

_Element = Annotated[Any, WithJsonSchema(CallRequest.model_json_schema())]


@router.post("/virtual", summary="Call one API as StableToolBench's server is called")
async def virtual(request: VirtualRequest) -> VirtualResponse:  # noqa: ARG001
    """Drop-in for StableToolBench's `/virtual`. `X-Toolserver-Provenance` and `-Status` say more."""
    raise HTTPException(404)


@router.post("/v1/call", summary="Call one API")
async def call_one(request: CallRequest) -> CallResponse:  # noqa: ARG001
    """A failing tool is an answer like any other: HTTP 200, with the failure in `outcome`."""
    raise HTTPException(404)


@router.post(
    "/v1/calls",
    responses={413: {"model": Problem, "description": "More calls than one request may carry."}},
    summary="Call several APIs",
)
async def call_many(elements: Annotated[list[_Element], Body()]) -> list[CallResponse]:  # noqa: ARG001
    """Answers come in the order of the calls. An element that is no call gets the outcome `invalid_arguments`."""
    raise HTTPException(404)
