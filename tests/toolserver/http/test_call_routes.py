"""The hot path and FastAPI's routes give the same answers to the same requests, good and bad."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.toolserver.serving import OSLO, OSLO_BODY, RECORDED, as_request, as_virtual, make_cache, serving
from tests.toolserver.upstream_stub import upstream_stub
from toolserver.cache.database import DATABASE
from toolserver.catalog.api_schema import ToolCall
from toolserver.episodes.state_token import opening_token

Pair = tuple[TestClient, TestClient]

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The same application with and without its hot path."""
    cache = make_cache(tmp_path_factory.mktemp("cache"))
    options = {"miss": "synthetic", "max_body_bytes": 5000, "max_batch": 4, "strict_arguments": True}
    with serving(cache, **options) as fast, serving(cache, hot_path=False, **options) as slow:
        yield fast, slow


def seen(client: TestClient, path: str, body: bytes, headers: dict[str, str]) -> tuple[Any, ...]:
    response = client.post(path, content=body, headers=headers)
    own = {name: value for name, value in response.headers.items() if name.startswith(("x-", "content-", "retry"))}
    return response.status_code, response.content, own


def check(pair: Pair, path: str, body: bytes, headers: dict[str, str] = JSON) -> int:
    fast, slow = (seen(client, path, body, headers) for client in pair)
    assert fast == slow
    return int(fast[0])


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
def test_calls(pair: Pair, call: ToolCall) -> None:
    assert check(pair, "/virtual", json.dumps(as_virtual(call)).encode()) == 200
    assert check(pair, "/v1/call", json.dumps(as_request(call)).encode()) == 200
    assert check(pair, "/v1/call", json.dumps(as_request(call._replace(state=opening_token(7)))).encode()) == 200
    assert check(pair, "/v1/calls", json.dumps([as_request(call), None, as_request(OSLO)]).encode()) == 200


VIRTUAL = as_virtual(OSLO)
ODD_BODIES = [
    b"",
    b"null",
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
def test_odd_bodies(pair: Pair, path: str, body: bytes) -> None:
    assert check(pair, path, body) in (200, 400, 413, 422)


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
def test_content_types(pair: Pair, content_type: str) -> None:
    for path, body in (("/virtual", VIRTUAL), ("/v1/call", as_request(OSLO)), ("/v1/calls", [as_request(OSLO)])):
        check(pair, path, json.dumps(body).encode(), {"content-type": content_type})


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "HEAD"])
def test_other_methods(pair: Pair, method: str) -> None:
    answers = [client.request(method, "/virtual") for client in pair]
    assert {answer.status_code for answer in answers} == {405}
    assert answers[0].content == answers[1].content


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(VIRTUAL)), value=JSON_VALUES)
def test_any_value_in_any_field_of_the_old_protocol(pair: Pair, field: str, value: Any) -> None:
    check(pair, "/virtual", json.dumps(VIRTUAL | {field: value}).encode())


@given(field=st.sampled_from(sorted(as_request(OSLO))), value=JSON_VALUES)
def test_any_value_in_any_field(pair: Pair, field: str, value: Any) -> None:
    element = as_request(OSLO) | {field: value}
    check(pair, "/v1/call", json.dumps(element).encode())
    check(pair, "/v1/calls", json.dumps([element, value]).encode())


def test_an_upstream_answer_that_is_not_recorded_is_asked_for_anew(tmp_path: Path) -> None:
    """The hot path remembers requests: only those whose answers cannot change."""
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


def test_a_broken_store_is_503_on_both_ways(tmp_path: Path) -> None:
    make_cache(tmp_path)
    with serving(tmp_path) as fast, serving(tmp_path, hot_path=False) as slow:
        for client in (fast, slow):  # before any request, so that nothing is remembered
            client.app.state.assembly.cache.close()  # type: ignore[attr-defined]
        (tmp_path / DATABASE).unlink()
        assert check((fast, slow), "/virtual", json.dumps(VIRTUAL).encode()) == 503
        assert check((fast, slow), "/v1/calls", json.dumps([as_request(OSLO)]).encode()) == 503
