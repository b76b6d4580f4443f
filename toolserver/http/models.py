"""Models of requests and responses: validation of irregular requests, and documentation."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall


def _ascii(token: str) -> str:
    if not token.isascii():
        raise ValueError("a state token has ASCII characters only")
    return token


def _example(**fields: Any) -> ConfigDict:
    """Return the configuration of a model with an example for the documentation."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class VirtualRequest(BaseModel):
    """A call in StableToolBench's protocol."""

    model_config = _example(
        category="Sports",
        tool_name="football_data",
        api_name="player_search",
        tool_input='{"name": "Messi"}',
        strip="",
        toolbench_key="",
    )

    category: str
    tool_name: str
    api_name: str
    tool_input: str | dict[str, Any] = Field("", description="JSON text or an object; empty text means no arguments.")
    strip: str = Field("", description="Ignored; part of the protocol.")
    toolbench_key: str = Field("", description="Ignored here; the header of that name can carry an API key.")

    def call(self) -> ToolCall:
        """The call that the request describes."""
        return ToolCall(self.category, self.tool_name, self.api_name, self.tool_input)


class VirtualResponse(BaseModel):
    """The answer in StableToolBench's protocol."""

    model_config = _example(error="", response={"goals": 672})

    error: str
    response: Any


class CallRequest(BaseModel):
    """One call."""

    model_config = _example(
        category="Sports", tool="football_data", api="player_search", arguments={"name": "Messi"}, state=""
    )

    category: str
    tool: str
    api: str
    arguments: str | dict[str, Any] = Field({}, description="An object, or JSON text as a model wrote it.")
    state: Annotated[str, AfterValidator(_ascii)] = Field(
        "",
        description="The episode's state token; empty for none.",
        json_schema_extra={"pattern": r"^[\x00-\x7F]*$"},
    )

    def call(self) -> ToolCall:
        """The call that the request describes."""
        return ToolCall(self.category, self.tool, self.api, self.arguments, self.state)


class CallResponse(BaseModel):
    """The answer to one call."""

    model_config = _example(
        outcome="ok",
        status=0,
        provenance="recorded",
        state="",
        latency=0.0,
        body='{"error": "", "response": {"goals": 672}}',
    )

    outcome: Outcome
    status: int = Field(description="ToolBench's status code for the outcome.")
    provenance: Provenance
    state: str = Field(description="The state token for the episode's next call.")
    latency: float = Field(description="Seconds of the virtual clock.")
    body: str = Field(description='JSON text `{"error": ..., "response": ...}`, byte for byte as it is stored.')


class ApiPage(BaseModel):
    """A page of APIs."""

    total: int = Field(description="Number of APIs in the catalog.")
    offset: int
    apis: list[dict[str, Any]] = Field(description="Documentation as in StableToolBench's query files.")


class ApiDetail(BaseModel):
    """One API."""

    documentation: dict[str, Any] = Field(description="As in StableToolBench's query files.")
    function: dict[str, Any] = Field(description="The function that is offered to a model.")
    arguments: dict[str, Any] = Field(description="JSON Schema of the arguments.")


class Problem(BaseModel):
    """An error."""

    detail: Any
