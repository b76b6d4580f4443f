"""The HTTP application: its routes, one by one."""

import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from tests.toolserver.apis import APIS, WEATHER
from tests.toolserver.serving import OSLO, OSLO_BODY, RATED_BODY, RECORDED, as_request, as_virtual, make_cache, serving
from toolserver.cache.database import DATABASE
from toolserver.errors import CacheError, ConfigurationError
from toolserver.http.app import create_app
from toolserver.http.metrics import Metrics
from toolserver.settings import Settings


def test_one_call(client: TestClient) -> None:
    answer = client.post("/v1/call", json=as_request(OSLO)).json()
    expected = {"outcome": "ok", "status": 0, "provenance": "recorded", "state": "", "latency": 0.0}
    assert answer == {**expected, "body": OSLO_BODY.decode()}


def test_a_failing_tool_is_an_answer_like_any_other(client: TestClient) -> None:
    response = client.post("/v1/call", json=as_request(RECORDED[1][0]))
    assert response.status_code == 200
    answer = response.json()
    assert (answer["outcome"], answer["status"], answer["body"]) == ("rate_limited", 10, RATED_BODY.decode())


def test_arguments_may_be_text_or_left_out(client: TestClient) -> None:
    text = as_request(OSLO._replace(arguments=json.dumps(OSLO.arguments)))
    assert client.post("/v1/call", json=text).json()["body"] == OSLO_BODY.decode()
    bare = {"category": "Lost", "tool": "forgotten", "api": "no_document"}
    assert client.post("/v1/call", json=bare).json()["outcome"] == "ok"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({}, "category"),
        ({"category": "A", "tool": "b"}, "api"),
        ({"category": "A", "tool": 5, "api": "c"}, "tool"),
        ({"category": "A", "tool": "b", "api": "c", "arguments": []}, "arguments"),
        ({"category": "A", "tool": "b", "api": "c", "state": 1}, "state"),
        ({"category": "A", "tool": "b", "api": "c", "state": "é"}, "state"),
    ],
)
def test_a_malformed_call_is_refused_and_the_field_named(client: TestClient, call: object, field: str) -> None:
    response = client.post("/v1/call", json=call)
    assert response.status_code == 422
    assert field in json.dumps(response.json()["detail"])


def test_a_batch_keeps_its_order_and_bad_elements_to_themselves(client: TestClient) -> None:
    elements = [as_request(OSLO), 5, as_request(RECORDED[1][0]), {"category": "A"}, [], as_request(OSLO)]
    answers = client.post("/v1/calls", json=elements).json()
    outcomes = ["ok", "invalid_arguments", "rate_limited", "invalid_arguments", "invalid_arguments", "ok"]
    assert [answer["outcome"] for answer in answers] == outcomes
    assert "a number" in answers[1]["body"]
    assert "tool: expected a string, got nothing" in answers[3]["body"]


def test_an_empty_batch_has_an_empty_answer(client: TestClient) -> None:
    assert client.post("/v1/calls", json=[]).json() == []


def test_the_apis_are_listed_page_by_page(client: TestClient) -> None:
    pages = [client.get("/v1/apis", params={"limit": 2, "offset": offset}).json() for offset in (0, 2, 4)]
    assert [len(page["apis"]) for page in pages] == [2, 1, 0]
    assert {page["total"] for page in pages} == {len(APIS)}
    names = [api["api_name"] for page in pages for api in page["apis"]]
    assert sorted(names) == sorted(spec.name for spec in APIS)


def test_the_apis_are_searched(client: TestClient) -> None:
    found = client.get("/v1/apis", params={"q": "forecast city"}).json()["apis"]
    assert found[0]["api_name"] == WEATHER.name


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"offset": -1}, {"q": "x" * 401}, {"limit": "many"}])
def test_a_search_beyond_its_limits_is_refused(client: TestClient, query: dict[str, str]) -> None:
    assert client.get("/v1/apis", params=query).status_code == 422


def test_one_api(client: TestClient) -> None:
    answer = client.get("/v1/apis/Weather/sky_watch/getforecast").json()
    assert answer["documentation"]["api_name"] == "getForecast"
    assert answer["function"]["name"] == WEATHER.function_name
    assert answer["arguments"]["required"] == ["city"]
    missing = client.get("/v1/apis/Weather/sky_watch/other")
    assert missing.status_code == 404
    assert "other" in missing.json()["detail"]


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "apis": len(APIS)}


def test_the_documentation_has_the_models_and_an_example_of_every_call(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/apis", "/v1/info", "/metrics", "/healthz", "/readyz"} <= set(document["paths"])
    for path, request, answer in (
        ("/virtual", "VirtualRequest", "VirtualResponse"),
        ("/v1/call", "CallRequest", "CallResponse"),
        ("/v1/calls", "CallRequest", "CallResponse"),
    ):
        operation = document["paths"][path]["post"]
        assert request in json.dumps(operation["requestBody"])
        assert answer in json.dumps(operation["responses"]["200"])
        assert {"400", "401", "408", "413", "422", "429"} <= operation["responses"].keys()
        assert document["components"]["schemas"][request]["examples"]


def test_the_documentation_says_what_the_code_takes(client: TestClient) -> None:
    """An element of a batch that is not a call is answered; a state beyond ASCII is refused."""
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/calls"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    call, anything = body["items"]["anyOf"]
    assert (call["required"], anything.keys() & {"type", "required"}) == (["category", "tool", "api"], set())
    without_api = {name: value for name, value in as_request(OSLO).items() if name != "api"}
    assert client.post("/v1/calls", json=[without_api]).json()[0]["outcome"] == "invalid_arguments"
    pattern = document["components"]["schemas"]["CallRequest"]["properties"]["state"]["pattern"]
    for state, status in (("", 200), ("open:seed=1", 200), ("æ", 422)):
        assert bool(re.search(pattern, state)) == (status == 200)
        assert client.post("/v1/call", json=as_request(OSLO._replace(state=state))).status_code == status


def test_the_documentation_names_the_keys_where_there_are_some(tmp_path: Path, client: TestClient) -> None:
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
    keys = tmp_path / "keys.txt"
    keys.write_text("a-key-of-a-caller\n")
    with serving(make_cache(tmp_path / "cache"), api_key_file=keys) as closed:
        document = closed.get("/openapi.json").json()
        assert document["components"]["securitySchemes"].keys() == {"bearer", "x_api_key", "toolbench_key"}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                needs = operation.get("security", document["security"]) != []
                assert needs == (closed.request(method, path).status_code == 401), path
        for name, scheme in document["components"]["securitySchemes"].items():
            header = (
                ("Authorization", "Bearer a-key-of-a-caller")
                if name == "bearer"
                else (scheme["name"], "a-key-of-a-caller")
            )
            assert closed.get("/v1/apis", headers=dict([header])).status_code == 200


def test_mcp_without_its_package_is_refused_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mcp", "mcp_types", "toolserver.mcp.catalog_server", "toolserver.mcp.results"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.lowlevel.server", None)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigurationError, match=r"mcp: .*pip install 'steptool-env\[mcp\]'.*--mcp"):
        create_app(Settings(world=0, mcp=True))


@pytest.mark.parametrize("path", ["/virtual", "/rapidapi", "/v1/call", "/v1/calls", "/v1/apis", "/healthz", "/docs"])
def test_another_method_answers_405(client: TestClient, path: str) -> None:
    for method in ("TRACE", "PUT", "DELETE", "OPTIONS"):
        assert client.request(method, path).status_code == 405


def test_the_documentation_page_lists_the_routes_and_loads_nothing(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for route in ("POST /virtual", "POST /v1/call", "POST /v1/calls", "GET /v1/apis/{category}/{tool}/{api}"):
        assert f"<code>{route}</code>" in page.text
    assert "player_search" in page.text  # an example
    assert not re.search(r"<script|<link|<img|//[a-z]|url\(", page.text)


def test_an_example_of_the_documentation_is_a_call_that_is_taken(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for path, schema in (("/virtual", "VirtualRequest"), ("/v1/call", "CallRequest")):
        assert client.post(path, json=schemas[schema]["examples"][0]).status_code == 200


def test_the_metrics_count_what_happened(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path), miss="synthetic") as client:
        client.post("/v1/calls", json=[as_request(OSLO), as_request(OSLO), 5])
        client.post("/v1/call", json=as_request(OSLO._replace(arguments={"city": "Rome"})))
        client.get("/nowhere")
        lines = client.get("/metrics").text.splitlines()
    assert 'toolserver_calls_total{outcome="ok",provenance="recorded",route="/v1/calls"} 2.0' in lines
    assert 'toolserver_calls_total{outcome="ok",provenance="synthetic",route="/v1/call"} 1.0' in lines
    assert "toolserver_cache_hits_total 2.0" in lines
    assert "toolserver_cache_misses_total 1.0" in lines
    assert 'toolserver_requests_total{route="/v1/calls",status="200"} 1.0' in lines
    assert 'toolserver_requests_total{route="other",status="404"} 1.0' in lines
    assert 'toolserver_request_seconds_count{route="/v1/calls"} 1.0' in lines


def test_the_metrics_of_several_workers_are_one_sum(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    other = Metrics(runtime)
    other.count_request("/virtual", 200, 0.02)
    other.save()
    (runtime / f"metrics-{os.getpid()}.json").rename(runtime / "metrics-0.json")  # as another process would name it
    with serving(make_cache(tmp_path / "cache"), runtime_dir=runtime) as client:
        client.post("/virtual", json={})
        lines = client.get("/metrics").text.splitlines()
        assert 'toolserver_requests_total{route="/virtual",status="200"} 1.0' in lines
        assert 'toolserver_requests_total{route="/virtual",status="422"} 1.0' in lines
        assert 'toolserver_request_seconds_count{route="/virtual"} 2.0' in lines
        shutil.rmtree(runtime)
        lines = client.get("/metrics").text.splitlines()
        assert 'toolserver_request_seconds_count{route="/virtual"} 1.0' in lines


def test_a_broken_store_is_not_ready_and_answers_503(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path)) as client:
        assert client.get("/readyz").status_code == 200
        client.app.state.assembly.cache.close()  # type: ignore[attr-defined]
        (tmp_path / DATABASE).unlink()
        assert client.get("/readyz").status_code == 503
        assert client.post("/virtual", json=as_virtual(OSLO)).status_code == 503
        assert client.post("/v1/calls", json=[as_request(OSLO)]).status_code == 503


def test_settings_that_serve_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="nothing to serve"):
        Settings()
    for other in ({"world": 0}, {"cache": tmp_path}, {"tau2": True}):
        with pytest.raises(ValidationError, match="bfcl: it is served alone"):
            Settings(bfcl=True, **other)
    with pytest.raises(ValidationError, match="tau2: it is served alone"):
        Settings(tau2=True, world=0)
    with pytest.raises(ValidationError, match="llm_url"):
        Settings(cache=tmp_path, miss="llm")
    with pytest.raises(ValidationError, match="live_url"):
        Settings(cache=tmp_path, miss="live")
    with pytest.raises(CacheError), serving(tmp_path / "nowhere"):
        pass


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLSERVER_CACHE", str(tmp_path))
    monkeypatch.setenv("TOOLSERVER_MISS", "synthetic")
    monkeypatch.setenv("TOOLSERVER_STATE_KEY", "a very secret key")
    settings = Settings()
    assert (settings.cache, settings.miss) == (str(tmp_path), "synthetic")
    assert "secret key" not in repr(settings)


def test_concurrent_scrapes_are_whole_while_requests_are_counted(tmp_path: Path) -> None:
    """Scrapes run on threads, and the event loop goes on counting."""
    metrics = Metrics(tmp_path)
    for number in range(20):
        metrics.count_request(f"/{number}", 200, 0.1)
    with ThreadPoolExecutor(8) as pool:
        scrapes = [pool.submit(metrics.exposition) for _ in range(40)]
        for number in range(20, 150):
            metrics.count_request(f"/{number}", 200, 0.1)
    assert all(b'route="/19",status="200"} 1.0' in scrape.result() for scrape in scrapes)
