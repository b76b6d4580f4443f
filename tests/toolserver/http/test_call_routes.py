"""The routes that call tools: regular and irregular requests have the same answers, and bad ones FastAPI's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.server_stub import upstream_stub
from tests.toolserver.serving import OSLO, OSLO_BODY, RECORDED, as_request, as_virtual, make_cache, serving
from toolserver.catalog.api_schema import ToolCall
from toolserver.episodes.state_token import opening_token
from toolserver.http import routes
from toolserver.http.app import invalid_request

JSON, OTHER_JSON = "application/json", "application/x+json"
"""The second content type is JSON as well, but only `parse_exactly` and the models read it."""

_NOT_FOUND = 404  # of the functions that declare the routes


class Servers(NamedTuple):
    """The application, and FastAPI with the declared routes: it validates requests and answers none."""

    ours: TestClient
    fastapi: TestClient


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    declared = FastAPI()
    declared.include_router(routes.router)
    declared.add_exception_handler(RequestValidationError, invalid_request)
    options = {"miss": "synthetic", "max_body_bytes": 5000, "max_batch": 4, "strict_arguments": True}
    with (
        serving(make_cache(tmp_path_factory.mktemp("cache")), **options) as ours,
        TestClient(declared) as fastapi,
    ):
        yield Servers(ours, fastapi)


def seen(client: TestClient, path: str, body: bytes, content_type: str) -> tuple[Any, ...]:
    response = client.post(path, content=body, headers={"content-type": content_type})
    own = {name: value for name, value in response.headers.items() if name.startswith(("x-", "content-", "retry"))}
    return response.status_code, response.content, own


def check(servers: Servers, path: str, body: bytes, content_type: str = JSON) -> int:
    """The status of the answer, which does not depend on how the body is parsed."""
    answer = seen(servers.ours, path, body, content_type)
    assert seen(servers.ours, path, body, content_type) == answer
    if content_type == JSON:
        assert seen(servers.ours, path, body, OTHER_JSON) == answer
    if answer[0] != 413:
        refused = seen(servers.fastapi, path, body, content_type)
        assert refused == answer if refused[0] != _NOT_FOUND else answer[0] in (200, 503)
    return int(answer[0])


CALLS = [
    *(call for call, _, _ in RECORDED),
    OSLO._replace(arguments={"city": "Rome"}),
    OSLO._replace(arguments={"town": "Rome"}),
    OSLO._replace(arguments='{"city": NaN}'),
    OSLO._replace(arguments="no JSON"),
    OSLO._replace(arguments=""),
    OSLO._replace(api="chat_with_user"),
    ToolCall("", "", "", ""),
    ToolCall("Weather", "sky_watch", "unknown", {"a": {"b": [1, 2, {"c": None}]}}),
    ToolCall("天气", "工具", "接口", {"城市": "奥斯陆"}),
]


@pytest.mark.parametrize("call", CALLS)
def test_calls(servers: Servers, call: ToolCall) -> None:
    assert check(servers, "/virtual", json.dumps(as_virtual(call)).encode()) == 200
    assert check(servers, "/v1/call", json.dumps(as_request(call)).encode()) == 200
    assert check(servers, "/v1/call", json.dumps(as_request(call._replace(state=opening_token(7)))).encode()) == 200
    assert check(servers, "/v1/calls", json.dumps([as_request(call), None, as_request(OSLO)]).encode()) == 200


VIRTUAL = as_virtual(OSLO)
ODD_BODIES = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'{"category": "\\ud800"}',
    b"[" * 4000,
    b'{"a":' * 800,
    json.dumps(VIRTUAL | {"tool_input": {"city": float("nan")}}).encode(),
    json.dumps(VIRTUAL | {"tool_input": {"city": 10**30}}).encode(),
    json.dumps(VIRTUAL | {"tool_input": {"city": [1e19, {"x": -(10**25)}]}}).encode(),
    json.dumps(VIRTUAL | {"tool_input": {"city": "\ud800"}}).encode(),
    json.dumps(VIRTUAL | {"tool_input": {"\ud800": 1}}).encode(),
    json.dumps(VIRTUAL | {"tool_input": None}).encode(),
    json.dumps(VIRTUAL | {"tool_input": [1]}).encode(),
    json.dumps(VIRTUAL | {"category": 5, "toolbench_key": "a secret"}).encode(),
    json.dumps(VIRTUAL | {"strip": False}).encode(),
    json.dumps(as_request(OSLO) | {"state": "é"}).encode(),
    json.dumps(as_request(OSLO) | {"arguments": 7}).encode(),
    json.dumps(as_request(OSLO) | {"arguments": {"city": 2**70}}).encode(),
    json.dumps([as_request(OSLO) | {"arguments": {"city": 2**70}}, {"tool": "\ud800"}]).encode(),
    json.dumps([1, 2, 3, 4, 5]).encode(),
    b" " * 5001,
]


@pytest.mark.parametrize("path", ["/virtual", "/v1/call", "/v1/calls"])
@pytest.mark.parametrize("body", ODD_BODIES)
def test_odd_bodies(servers: Servers, path: str, body: bytes) -> None:
    assert check(servers, path, body) in (200, 400, 413, 422)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/x+json",
        "application/jsonp",
    ],
)
def test_content_types(servers: Servers, content_type: str) -> None:
    for path, body in (("/virtual", VIRTUAL), ("/v1/call", as_request(OSLO)), ("/v1/calls", [as_request(OSLO)])):
        check(servers, path, json.dumps(body).encode(), content_type)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(VIRTUAL)), value=JSON_VALUES)
def test_any_value_in_any_field_of_the_old_protocol(servers: Servers, field: str, value: Any) -> None:
    check(servers, "/virtual", json.dumps(VIRTUAL | {field: value}).encode())


@given(field=st.sampled_from(sorted(as_request(OSLO))), value=JSON_VALUES)
def test_any_value_in_any_field(servers: Servers, field: str, value: Any) -> None:
    element = as_request(OSLO) | {field: value}
    check(servers, "/v1/call", json.dumps(element).encode())
    check(servers, "/v1/calls", json.dumps([element, value]).encode())


def test_an_upstream_answer_that_is_not_recorded_is_requested_each_time(tmp_path: Path) -> None:
    """Only requests of `/virtual` whose answers cannot change are stored."""
    with upstream_stub(lambda request: {"error": "", "response": len(stub.requests)}) as stub:
        settings: dict[str, Any] = {"miss": "live", "live_url": stub.url, "read_only": True}
        with serving(make_cache(tmp_path), **settings) as client:
            request = as_virtual(OSLO._replace(arguments={"city": "Rome"}))
            assert [client.post("/virtual", json=request).json()["response"] for _ in range(3)] == [1, 2, 3]


def test_repeated_requests_are_counted_like_first_ones(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path)) as client:
        bodies = {client.post("/virtual", json=VIRTUAL).content for _ in range(3)}
        assert bodies == {OSLO_BODY}
        assert "toolserver_cache_hits_total 3.0" in client.get("/metrics").text


def test_an_application_under_a_prefix_answers_its_routes(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path)) as client, TestClient(client.app, root_path="/tools") as mounted:
        for path in ("/virtual", "/tools/virtual"):
            assert mounted.post(path, json=VIRTUAL).content == OSLO_BODY
        assert mounted.get("/tools/healthz").status_code == 200
