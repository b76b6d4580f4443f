"""Server of policies: chat completions for agents, and completions with token ids for rollouts on another machine."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from agents.errors import CheckpointError
from agents.gateway.chat import answer_chat
from agents.gateway.models import Models
from agents.gateway.protocol import ApiError, ChatRequest, CompletionRequest, Reload, error_body
from agents.rollout.types import Sampled


def create_app(models: Models) -> FastAPI:
    """Return the application that serves models."""
    app = FastAPI(title="steptool policy server")
    add_error_handlers(app)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return models_body(models.names)

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        if name not in models.names:
            await models.get(name)
        return model_entry(name)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: ChatRequest, client: Request) -> Response:
        return await answer_chat(request, await models.get(request.model), client)

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> dict[str, Any]:
        model = await models.get(request.model)
        before = model.decoder.weights
        sampled = await model.decoder.complete(request)
        weights = before if before == model.decoder.weights else ""  # others were loaded meanwhile: either ones
        choices = [_choice(request, sampled)]
        return {"object": "text_completion", "model": model.name, "system_fingerprint": weights, "choices": choices}

    @app.post("/collective_rpc")
    async def collective_rpc(call: Reload) -> dict[str, Any]:
        model = await models.get(models.names[0])
        try:
            await model.decoder.reload(call.kwargs.weights_path)
        except CheckpointError as error:
            raise ApiError(str(error), "weights_path") from error
        return {"results": [model.decoder.weights]}

    @app.post("/reset_prefix_cache")
    async def reset_prefix_cache() -> None:
        """Do nothing: loading weights clears the caches."""

    return app


def add_error_handlers(app: FastAPI) -> None:
    """Answer errors in the form of OpenAI's API; a field that is not supported is status 400."""

    @app.exception_handler(HTTPException)
    async def no_route(client: Request, error: HTTPException) -> JSONResponse:
        message = (
            f"{client.method} {client.url.path}: there is no such route; use a client of the chat completions API "
            "(POST /v1/chat/completions), whose base URL ends in /v1"
        )
        return JSONResponse(error_body(message), error.status_code, error.headers)

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status)

    @app.exception_handler(CheckpointError)
    async def unloadable(_: Request, error: CheckpointError) -> JSONResponse:
        return JSONResponse(error_body(f"the model cannot be loaded: {error}", "model"), 500)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        entry = error.errors()[0]
        is_unreadable = entry["type"] == "json_invalid"  # its place is a position, not a field
        where = "" if is_unreadable else ".".join(str(part) for part in entry["loc"][1:])
        return JSONResponse(error_body(_explained(where, entry), where or None), 400)


def models_body(names: Any) -> dict[str, Any]:
    """Return the body of `/v1/models`."""
    return {"object": "list", "data": [model_entry(name) for name in names]}


def model_entry(name: str) -> dict[str, Any]:
    """Return a model as `/v1/models` lists it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "steptool"}


def _explained(where: str, entry: Any) -> str:
    if entry["type"] == "json_invalid":
        return f"the body is not JSON: {entry['ctx']['error']} at character {entry['loc'][-1]}; send a JSON object"
    if not where and entry["type"] != "value_error":
        return "the body is not a JSON object; send one, with the header Content-Type: application/json"
    if entry["type"] == "missing":
        return f"{where}: this field is required"
    remedy = entry["msg"].removeprefix("Value error, ")
    if entry["type"] == "too_long" and not entry["ctx"]["max_length"]:
        remedy = "this value is not supported; leave the field out"
    elif entry["type"] == "extra_forbidden":
        remedy = "this field is not supported; leave it out"
    elif entry["type"] == "literal_error":
        remedy = f"this value is not supported; leave the field out, or send {entry['ctx']['expected']}"
    return f"{where}={entry['input']!r:.80}: {remedy}" if where else remedy


def _choice(request: CompletionRequest, sampled: Sampled) -> dict[str, Any]:
    return {
        "index": 0,
        "text": "",
        "token_ids": sampled.ids,
        "prompt_token_ids": request.prompt,
        "logprobs": {"token_logprobs": sampled.log_probs},
        "finish_reason": "stop" if sampled.stopped else "length",
    }
