"""`/virtual` is a drop-in for StableToolBench's server."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.speed.reference_server import RECORDINGS_VARIABLE, make_reference
from tests.toolserver.serving import OSLO, OSLO_BODY, RECORDED, as_request, as_virtual, make_cache, serving
from toolserver.cache import ResponseCache


def test_a_hit_is_the_stored_bytes(client: TestClient) -> None:
    response = client.post("/virtual", json=as_virtual(OSLO))
    assert response.content == OSLO_BODY
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-toolserver-provenance"] == "recorded"
    assert "x-toolserver-status" not in response.headers  # 0


def test_status_and_provenance_are_in_the_headers(client: TestClient) -> None:
    failed = client.post("/virtual", json=as_virtual(RECORDED[1][0]))
    assert failed.headers["x-toolserver-status"] == "10"
    missed = client.post("/virtual", json=as_virtual(OSLO._replace(arguments={})))
    assert missed.status_code == 200
    assert missed.headers["x-toolserver-provenance"] == "service"
    assert missed.json() == {"error": "API not working error...", "response": "No recorded response for this call."}


def status_of_toolbenchs_client(response: Any) -> int:
    """Status code that ToolBench's and StableToolBench's `rapidapi.py` give to an answer."""
    known = {
        "API not working error...": 6,
        "Unauthorized error...": 7,
        "Unsubscribed error...": 8,
        "Too many requests error...": 9,
        "Rate limit per minute error...": 10,
        "Message error...": 11,
    }
    return known.get(response.json()["error"], 0) if response.status_code == 200 else 12


def test_a_call_that_nothing_answers_is_a_failure_to_toolbenchs_clients(client: TestClient) -> None:
    missed = as_virtual(OSLO._replace(arguments={"city": "Nowhere"}))
    unknown = as_virtual(OSLO._replace(tool="no such tool"))
    for route in ("/virtual", "/rapidapi"):
        assert [status_of_toolbenchs_client(client.post(route, json=each)) for each in (missed, unknown)] == [6, 6]
        assert status_of_toolbenchs_client(client.post(route, json=as_virtual(OSLO))) == 0
        assert status_of_toolbenchs_client(client.post(route, json=as_virtual(RECORDED[1][0]))) == 10


def test_a_miss_can_have_the_status_of_stabletoolbenchs_server(tmp_path: Path) -> None:
    missed = as_virtual(OSLO._replace(arguments={"city": "Nowhere"}))
    with serving(make_cache(tmp_path / "cache"), miss_status=500) as client:
        for route in ("/virtual", "/rapidapi"):
            answer = client.post(route, json=missed)
            assert (answer.status_code, status_of_toolbenchs_client(answer)) == (500, 12)
            assert answer.headers["x-toolserver-status"] == "12"
            assert client.post(route, json=as_virtual(OSLO)).content == OSLO_BODY
        assert client.post("/v1/call", json=as_request(OSLO._replace(arguments={}))).json()["status"] == 12


def test_toolbenchs_route_answers_the_same_bytes(client: TestClient) -> None:
    for call in (OSLO, RECORDED[1][0], OSLO._replace(arguments="{")):
        ours, theirs = (client.post(route, json=as_virtual(call)) for route in ("/virtual", "/rapidapi"))
        assert (ours.content, ours.headers) == (theirs.content, theirs.headers)
    assert client.post("/rapidapi", json={}).status_code == 422


@pytest.mark.parametrize(
    "changed",
    [
        {"tool_input": OSLO.arguments},
        {"tool_input": '{ "city" : "Os\\u006co" }'},
        {"tool_name": "Sky Watch"},
        {"tool_name": "sky_watch_for_Weather"},
        {"api_name": "getForecast"},
        {"api_name": "getforecast_for_sky_watch"},
        {"strip": "filter", "toolbench_key": "key", "unknown": 1},
    ],
)
def test_spellings_that_the_reference_takes(client: TestClient, changed: dict[str, Any]) -> None:
    assert client.post("/virtual", json=as_virtual(OSLO) | changed).content == OSLO_BODY


def test_empty_input_means_no_arguments(client: TestClient) -> None:
    request = {"category": "Lost", "tool_name": "forgotten", "api_name": "no_document", "tool_input": ""}
    assert client.post("/virtual", json=request).json()["response"] == "kept all the same"


@pytest.mark.parametrize("text", ["{'city': 'Oslo'}", "{", "city=Oslo"])
def test_input_that_does_not_parse(client: TestClient, text: str) -> None:
    response = client.post("/virtual", json=as_virtual(OSLO._replace(arguments=text)))
    assert response.json() == {"error": "Tool input parse error...\n", "response": ""}


def test_chatting_with_the_user(client: TestClient) -> None:
    request = as_virtual(OSLO._replace(api="chat_with_user", arguments="anything"))
    assert client.post("/virtual", json=request).json() == {"error": "", "response": "Chat with user."}


def test_every_published_recording_is_answered_as_the_reference_answers_it(
    stabletoolbench_data: Path, stabletoolbench_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORDINGS_VARIABLE, str(stabletoolbench_data / "server" / "tool_response_cache"))
    reference = make_reference()
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        calls = [entry.describe().call for _, entry in cache.entries()]
    with serving(stabletoolbench_cache) as ours, TestClient(reference) as theirs:
        compared = sum(_answers_agree(ours, theirs, as_virtual(call)) for call in calls)
    assert compared >= 0.99 * len(calls)  # the reference misses the rest: it keys by the order of the arguments


def _answers_agree(ours: TestClient, theirs: TestClient, request: dict[str, Any]) -> bool:
    """True if the reference has an answer; it must then equal ours, in the order of the fields too."""
    answer, expected = ours.post("/virtual", json=request), theirs.post("/virtual", json=request).json()
    assert answer.headers["x-toolserver-provenance"] in ("recorded", "generated")
    if expected["error"] == "miss":
        return False
    assert json.dumps(answer.json()) == json.dumps({"error": expected["error"], "response": expected["response"]})
    return True
