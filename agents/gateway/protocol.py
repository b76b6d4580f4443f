"""Requests of OpenAI's chat completions API, and of vLLM's completions API with token ids.

Fields that change the distribution are declared, so that values that are not supported are refused.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from agents.errors import RequestError

_SEED = Field(None, ge=-(2**63), lt=2**63)
_STRICT = ConfigDict(extra="forbid")


class ApiError(RequestError):
    """A request that is refused. `param` is the field, `code` the code of OpenAI's API, `status` the HTTP status."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status

    def body(self) -> dict[str, Any]:
        """Return the body of the response."""
        return error_body(str(self), self.param, self.code)


def error_body(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return an error in the form of OpenAI's API."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _text(content: Any) -> Any:
    """Join the text parts of a content; other parts are refused."""
    if not isinstance(content, list):
        return "" if content is None else content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            raise ValueError(f"a part of type {kind!r} is not supported; send text")
        if not isinstance(text := part.get(kind), str):
            raise ValueError(f"a part of type {kind!r} has {kind}={text!r:.80}; send a text there")
        texts.append(text)
    return "".join(texts)


def _stops(stop: Any) -> Any:
    texts = [stop] if isinstance(stop, str) else stop or []
    return [text for text in texts if text != ""] if isinstance(texts, list) else texts


class Function(BaseModel):
    """Name and arguments of a call; arguments are JSON text."""

    name: str
    arguments: str = "{}"


class Call(BaseModel):
    """Tool call of an assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: Function


class Message(BaseModel):
    """Message of a chat. Fields that no model reads, such as `name` or `annotations`, are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(_text)] = ""
    tool_calls: Annotated[list[Call], BeforeValidator(lambda calls: calls or [])] = []
    tool_call_id: str | None = None

    def canonical(self) -> str:
        """Return the parts that identify the message, as text.

        Clients leave out the text beside calls and write arguments in other ways, so that calls identify a message by
        themselves. A developer is the system.
        """
        calls = [(call.id, call.function.name, _canonical(call.function.arguments)) for call in self.tool_calls]
        role = "system" if self.role == "developer" else self.role
        return json.dumps([role, self.tool_call_id, calls or self.content])


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


class Tool(BaseModel):
    """Function that the model may call."""

    class Schema(BaseModel):
        """Name, description and parameters of a function."""

        name: str
        description: Annotated[str, BeforeValidator(lambda text: text or "")] = ""
        parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})

    type: Literal["function"]
    function: Schema


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    include_usage: bool = False


class TextFormat(BaseModel):
    """Format of the answer: text, which is the default."""

    model_config = _STRICT
    type: Literal["text"]


class ChatRequest(BaseModel):
    """Request of `/v1/chat/completions`."""

    model_config = _STRICT

    model: str
    messages: list[Message] = Field(min_length=1)
    tools: Annotated[list[Tool], BeforeValidator(lambda tools: tools or [])] = []
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    """Accepted and without effect: the model makes one call at a time."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stop: Annotated[list[str], Field(max_length=4), BeforeValidator(_stops)] = []
    """Texts that end the answer, without the empty one."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = _SEED
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    response_format: TextFormat | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    return_token_ids: bool | None = None
    """Add `prompt_token_ids`, and to each choice `token_ids`, as vLLM does."""

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, request: Any) -> Any:
        try:
            json.dumps(request, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise ValueError(f"a text has the lone surrogate {character!r}; send whole characters") from None
        return request

    @model_validator(mode="after")
    def _check(self) -> "ChatRequest":
        if self.messages[-1].role == "assistant":
            raise ValueError("messages: the last one is the assistant's; end with one of the user or of a tool")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true; leave it out")
        return self

    @property
    def limit(self) -> int | None:
        """Maximum number of tokens of the answer; `None` where the request has none."""
        return min((n for n in (self.max_tokens, self.max_completion_tokens) if n is not None), default=None)

    @property
    def functions(self) -> list[dict[str, Any]]:
        """Functions that the model may call."""
        return [] if self.tool_choice == "none" else [tool.function.model_dump() for tool in self.tools]


class CompletionRequest(BaseModel):
    """Request of `/v1/completions`, with vLLM's fields for token ids."""

    model_config = _STRICT

    model: str
    prompt: list[int] = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    temperature: Literal[1] = 1
    top_p: Literal[1] = 1
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    stop_token_ids: Annotated[list[int], Field(min_length=1, max_length=1)]
    logprobs: Literal[0] = 0
    return_token_ids: Literal[True] = True
    ignore_eos: Literal[True] = True
    include_stop_str_in_output: bool = True
    skip_special_tokens: bool = False
    add_special_tokens: Literal[False] = False
    n: Literal[1] = 1
    top_k: Literal[-1, 0] = -1
    min_p: Literal[0] = 0
    repetition_penalty: Literal[1] = 1
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0


class Reload(BaseModel):
    """Body of `/collective_rpc`: load weights."""

    class Arguments(BaseModel):
        """Arguments of `reload_weights`."""

        weights_path: Path

    method: Literal["reload_weights"]
    kwargs: Arguments
