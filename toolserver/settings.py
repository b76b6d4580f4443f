"""The server's settings: flags of `toolserver serve`, or environment variables `TOOLSERVER_...`."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from toolserver.resolvers.llm import Simulator

MissPolicy = Literal["strict", "synthetic", "llm", "live"]

MAX_BODY_BYTES = 4 * 2**20
"""Maximum size of a request body by default."""

_KEY_CHARACTERS = 16
_HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|", re.ASCII)


def host_names(text: str) -> list[str]:
    """Return the host names in a text, separated by commas. Raises `ValueError` for one that is not a host name."""
    names = text.lower().split(",")
    if wrong := [name for name in names if not _HOST_NAME.fullmatch(name)]:
        raise ValueError(
            f"{wrong[0]!r} is not a host name; give names without scheme, port and blanks, e.g. "
            "tools.example,*.example.org"
        )
    return names


class Settings(BaseSettings):
    """Settings of the server: tools, miss policy and limits.

    Read when an application is created, never at import. The environment variable `TOOLSERVER_<FIELD>` sets a field.
    """

    # A Redis URL may contain a password, so the cache is never shown and errors do not quote settings.
    model_config = SettingsConfigDict(env_prefix="TOOLSERVER_", frozen=True, extra="ignore", hide_input_in_errors=True)

    cache: str | Path | None = Field(
        default=None, repr=False, description="Recorded responses (`toolserver import`): a directory or a Redis URL."
    )
    read_only: bool = Field(default=False, description="Open the cache for reading only; nothing is recorded.")
    bfcl: bool = Field(default=False, description="Serve the simulated APIs of BFCL's multi-turn tasks, alone.")
    tau2: bool = Field(default=False, description="Serve the simulated APIs of tau2's telecom tasks, alone.")
    world: int | None = Field(default=None, ge=0, description="Serve ToolWorld of this seed.")
    world_level: str = Field(default="lite", description="Level of ToolWorld: lite, standard or full.")
    world_tools: int | None = Field(default=None, ge=1, description="Vendors of ToolWorld; default: the level's.")
    world_version: int | None = Field(default=None, description="Version of ToolWorld; default: the current one.")
    miss: MissPolicy = Field(default="strict", description="Source of answers to calls that are not recorded.")
    miss_status: Literal[200, 500] = Field(
        default=200, description="HTTP status of /virtual for a call that nothing answers."
    )
    mcp: bool = Field(default=False, description="Serve the tools by the Model Context Protocol, too, at /mcp.")
    ui: str = Field(default="", description="Application of pages at /ui, as module:factory; --ui sets it.")
    strict_arguments: bool = Field(default=False, description="Refuse calls that do not fit the API's documentation.")
    state_key: SecretStr | None = Field(
        default=None, description="Key of state tokens, at least 16 characters; default: random per server."
    )

    llm_url: str = Field(
        default="", description="OpenAI-compatible endpoint, e.g. http://127.0.0.1:8001/v1 (miss=llm)."
    )
    llm_model: str = Field(default="", description="Model name at that endpoint.")
    llm_key: SecretStr = Field(default=SecretStr(""), description="Bearer key of that endpoint.")
    llm_simulator: Simulator = Field(default="gpt", description="Message format: gpt or mirrorapi.")
    live_url: str = Field(default="", description="Upstream server's /rapidapi endpoint (miss=live).")
    live_key: SecretStr = Field(default=SecretStr(""), description="toolbench_key of the upstream server.")
    upstream_timeout: float = Field(
        default=60.0, gt=0, description="Timeout of one upstream request, and of its answer's body, in seconds."
    )
    upstream_retries: int = Field(
        default=2, ge=0, le=10, description="Maximum number of upstream retries after a failure."
    )
    upstream_workers: int = Field(default=8, ge=1, le=256, description="Concurrent upstream calls per worker.")

    api_key_file: Path | None = Field(default=None, description="File with the accepted API keys, one per line.")
    allowed_hosts: str | None = Field(
        default=None,
        description="Host names that requests may have beside addresses and names without a dot, separated by commas; "
        "*.NAME for those below a name, * for any. Default: any, of `serve` on a loopback address without keys none.",
    )
    rate_limit: float = Field(default=0.0, ge=0, description="Maximum calls per second and key; 0 for no limit.")
    max_body_bytes: int = Field(default=MAX_BODY_BYTES, ge=1024, description="Maximum size of a request body in bytes.")
    max_batch: int = Field(default=1024, ge=1, description="Maximum number of calls in one request of /v1/calls.")
    max_depth: int = Field(default=32, ge=1, le=100, description="Maximum nesting of a call's arguments.")
    request_timeout: float = Field(default=150.0, gt=0, description="Timeout of a request in seconds.")
    max_head_bytes: int = Field(default=2**14, ge=1024, description="Maximum size of a request's head in bytes.")
    head_timeout: float = Field(default=10.0, gt=0, description="Timeout of a request's head in seconds.")
    max_connections: int = Field(default=512, ge=1, description="Maximum number of connections per worker.")

    runtime_dir: Path | None = Field(default=None, description="Directory shared by the workers; set by `serve`.")

    @field_validator("state_key")
    @classmethod
    def _is_no_guess(cls, key: SecretStr | None) -> SecretStr | None:
        # An empty variable is refused and not taken as a missing one: replicas would each have a random key.
        if key is not None and len(key.get_secret_value()) < _KEY_CHARACTERS:
            raise ValueError(
                f"has fewer than {_KEY_CHARACTERS} characters; set TOOLSERVER_STATE_KEY to a random text, the same for "
                "all servers that share episodes, e.g. of `openssl rand -hex 32`"
            )
        return key

    @field_validator("allowed_hosts")
    @classmethod
    def _has_names(cls, hosts: str | None) -> str | None:
        if hosts is not None:
            host_names(hosts)
        return hosts

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        others = (self.cache is not None) + (self.world is not None)
        for name in ("bfcl", "tau2"):
            if getattr(self, name) and others + self.bfcl + self.tau2 > 1:
                raise ValueError(f"{name}: it is served alone; leave out the others, or start a second server")
        if not others + self.bfcl + self.tau2:
            raise ValueError("cache, world, bfcl, tau2: none is set, so there is nothing to serve; set one of them")
        if self.miss == "llm" and not (self.llm_url and self.llm_model):
            raise ValueError("llm_url, llm_model: both are needed for miss=llm")
        if self.miss == "live" and not self.live_url:
            raise ValueError("live_url: needed for miss=live, e.g. http://127.0.0.1:8081/rapidapi")
        return self
