"""Whatever is sent, the server answers and does not break."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toolserver.serving import OSLO, OSLO_BODY, as_request, as_virtual, make_cache, serving
from toolserver.catalog.api_schema import Outcome, Provenance

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters(categories=["Cs"])),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=10,
)
TEXTS = st.text() | st.sampled_from(
    ["{", '{"a": NaN}', "[" * 3000, '{"a":' * 500, "\x00", "../../etc/passwd", "🤖" * 50]
)
PATHS = st.sampled_from(["/virtual", "/v1/call", "/v1/calls"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    cache = make_cache(tmp_path_factory.mktemp("cache"))
    with serving(cache, miss="synthetic", strict_arguments=True) as client:
        yield client


@pytest.fixture(autouse=True)
def still_answers(client: TestClient) -> Iterator[None]:
    yield
    assert client.post("/virtual", json=as_virtual(OSLO)).content == OSLO_BODY


def post(client: TestClient, path: str, content: bytes, content_type: str = "application/json") -> Any:
    """The parsed answer; never a 5xx."""
    response = client.post(path, content=content, headers={"content-type": content_type})
    assert response.status_code < 500, response.text
    return response.json()


@given(
    path=PATHS,
    content=st.binary(),
    content_type=st.sampled_from(["application/json", "text/plain", "a", "multipart/form-data"]),
)
def test_any_bytes(client: TestClient, path: str, content: bytes, content_type: str) -> None:
    post(client, path, content, content_type)


@given(path=PATHS, value=VALUES)
def test_any_json(client: TestClient, path: str, value: Any) -> None:
    post(client, path, json.dumps(value).encode())


@settings(max_examples=100)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(as_virtual(OSLO), TEXTS | VALUES)))
def test_any_fields_of_the_old_protocol(client: TestClient, request: dict[str, Any]) -> None:
    answer = post(client, "/virtual", json.dumps(request).encode())
    assert answer.keys() in ({"error", "response"}, {"detail"})


@settings(max_examples=100)
@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(as_request(OSLO), TEXTS | VALUES)) | VALUES, max_size=5)
)
def test_a_batch_loses_nothing(client: TestClient, elements: list[Any]) -> None:
    """One answer per element, and each good call is answered as if it were alone."""
    mixed = [item for element in elements for item in (element, as_request(OSLO))]
    answers = post(client, "/v1/calls", json.dumps(mixed).encode())
    assert len(answers) == len(mixed)
    assert all(answer["body"] == OSLO_BODY.decode() for answer in answers[1::2])
    for answer in answers:
        assert answer["outcome"] in set(Outcome)
        assert answer["provenance"] in set(Provenance)
        assert json.loads(answer["body"]).keys() == {"error", "response"}


@given(tool=TEXTS, arguments=TEXTS | st.dictionaries(st.text(), VALUES, max_size=3), state=TEXTS)
def test_any_call_of_a_documented_or_unknown_tool(
    client: TestClient, tool: str, arguments: str | dict[str, Any], state: str
) -> None:
    for call in (OSLO._replace(arguments=arguments, state=state), OSLO._replace(tool=tool, arguments=arguments)):
        (answer,) = post(client, "/v1/calls", json.dumps([as_request(call)]).encode())
        assert answer["outcome"] in set(Outcome)


@given(words=TEXTS, limit=st.integers(-5, 500), offset=st.integers(-5, 2**70))
def test_any_search(client: TestClient, words: str, limit: int, offset: int) -> None:
    response = client.get("/v1/apis", params={"q": words.encode(errors="replace"), "limit": limit, "offset": offset})
    assert response.status_code in (200, 422)


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_path(client: TestClient, category: str, tool: str) -> None:
    assert client.get(f"/v1/apis/{quote(category)}/{quote(tool)}/x").status_code in (307, 404)


NESTED = (33, 100, *range(960, 1030, 3), 3000, 100_000)


def nested(depth: int, form: str) -> str:
    """Arguments of `depth` levels as JSON text; `form` has an opening and a closing part."""
    opening, closing = form.split()
    return f'{{"city": {opening * (depth - 1)}1{closing * (depth - 1)}}}'


@pytest.mark.parametrize("form", ["[ ]", '{"a": }', "[{'a':[ ]}]".replace("'", '"')])
def test_deep_arguments_are_invalid_arguments_of_their_call_alone(client: TestClient, form: str) -> None:
    names = json.dumps({"category": OSLO.category, "tool": OSLO.tool, "api": OSLO.api})[:-1]
    old = json.dumps({**as_virtual(OSLO), "tool_input": 0}).replace('"tool_input": 0', '"tool_input": %s')
    for depth in NESTED:
        for arguments in (nested(depth, form), json.dumps(nested(depth, form))):
            call = f'{names}, "arguments": {arguments}}}'
            batch = ", ".join([json.dumps(as_request(OSLO)), call, '{"no": "call"}', json.dumps(as_request(OSLO))])
            answers = post(client, "/v1/calls", f"[{batch}]".encode())
            assert [answer["outcome"] for answer in answers] == ["ok", *["invalid_arguments"] * 2, "ok"], depth
            assert post(client, "/v1/call", call.encode())["outcome"] == "invalid_arguments"
            answered = client.post("/virtual", content=old % arguments, headers={"content-type": "application/json"})
            assert answered.headers["x-toolserver-status"] == "2"
