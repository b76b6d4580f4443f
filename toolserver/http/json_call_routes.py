"""The routes that call tools. Their regular requests are answered by the hot path (`toolserver.http.call_routes`)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Response
from pydantic import WithJsonSchema

from toolserver.catalog.api_schema import ToolCall
from toolserver.http.codec import VIRTUAL_FIELDS, encode_response, encode_responses, read_call
from toolserver.http.dependencies import AdmissionDep, CallerDep, DispatcherDep, SettingsDep
from toolserver.http.models import CallRequest, CallResponse, Problem, VirtualRequest, VirtualResponse

router = APIRouter(tags=["calls"])

# Checked one by one, so that one bad element does not spoil the rest.
_Element = Annotated[Any, WithJsonSchema(CallRequest.model_json_schema())]


@router.post("/virtual", response_model=VirtualResponse, summary="Call one API as StableToolBench's server is called")
async def virtual(request: VirtualRequest, dispatcher: DispatcherDep) -> Response:
    """Drop-in for StableToolBench's `/virtual`. `X-Toolserver-Provenance` and `-Status` say more."""
    call = ToolCall(request.category, request.tool_name, request.api_name, request.tool_input)
    response = await dispatcher.answer(call, "/virtual")
    answer = Response(response.body)
    answer.raw_headers.extend(VIRTUAL_FIELDS[response.outcome, response.provenance].raw)
    return answer


@router.post("/v1/call", response_model=CallResponse, summary="Call one API")
async def call_one(request: CallRequest, dispatcher: DispatcherDep) -> Response:
    """A failing tool is an answer like any other: HTTP 200, with the failure in `outcome`."""
    call = ToolCall(request.category, request.tool, request.api, request.arguments, request.state)
    return _json(encode_response(await dispatcher.answer(call, "/v1/call")))


@router.post(
    "/v1/calls",
    response_model=list[CallResponse],
    responses={413: {"model": Problem, "description": "More calls than one request may carry."}},
    summary="Call several APIs",
)
async def call_many(
    elements: Annotated[list[_Element], Body()],
    dispatcher: DispatcherDep,
    admission: AdmissionDep,
    settings: SettingsDep,
    caller: CallerDep,
) -> Response:
    """Answers come in the order of the calls. An element that is no call gets the outcome `invalid_arguments`."""
    if len(elements) > settings.max_batch:
        raise HTTPException(413, f"{len(elements)} calls in one request; at most {settings.max_batch} are taken")
    admission.charge(caller, len(elements))
    calls = [read_call(element) for element in elements]
    return _json(encode_responses(await dispatcher.answer_many(calls, "/v1/calls")))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
