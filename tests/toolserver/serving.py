"""A small cache to serve, clients of applications that serve it, and commands."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fastapi.testclient import TestClient

from tests.toolserver.apis import APIS, WEATHER
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.api_schema import Outcome, ToolCall, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.cli import main
from toolserver.http.app import create_app
from toolserver.settings import Settings

CachePath = TypeVar("CachePath", str, Path)

OSLO = ToolCall(*WEATHER.key, {"city": "Oslo"})
OSLO_BODY = encode_body("", {"sky": "grå", "nested": [1, 2.50, None]})
RATED_BODY = encode_body("Rate limit per minute error...", {"message": "slow down"})
RECORDED = (
    (OSLO, OSLO_BODY, Outcome.OK),
    (OSLO._replace(arguments={"city": "Bergen", "days": 2}), RATED_BODY, Outcome.RATE_LIMITED),
    (ToolCall("Lost", "forgotten", "no_document", {}), encode_body("", "kept all the same"), Outcome.OK),
)


def make_cache(path: CachePath) -> CachePath:
    """A cache of `RECORDED` with the catalog of `APIS`."""
    with ResponseCache(path) as cache:
        for call, body, outcome in RECORDED:
            cache.put(call, body, outcome)
    save_catalog(Catalog(APIS), path)
    return path


@contextmanager
def serving(cache: str | Path, **settings: Any) -> Iterator[TestClient]:
    """A client of an application over `cache`."""
    settings.setdefault("read_only", True)
    with TestClient(create_app(Settings(cache=cache, **settings)), raise_server_exceptions=False) as client:
        yield client


def run(*arguments: object) -> int:
    """Run a command in this process; its status."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(str(ended.value))


def as_request(call: ToolCall) -> dict[str, Any]:
    """A call as `/v1/call` takes it."""
    return {name: value for name, value in call._asdict().items() if name != "parsed"}


def as_virtual(call: ToolCall) -> dict[str, Any]:
    """A call as StableToolBench's client sends it."""
    text = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    names = {"category": call.category, "tool_name": call.tool, "api_name": call.api}
    return {**names, "tool_input": text, "strip": "", "toolbench_key": ""}
