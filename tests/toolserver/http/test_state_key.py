"""Keys of state tokens: random for every server over HTTP, shared by its workers, public in process."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from tests.toolserver.http.test_hardening import command_line
from tests.toolserver.http.test_token_batches import BOOKED, GOOD, SERVICE, VENDORS, in_process
from tests.toolserver.serving import as_request
from toolserver.http.app import create_app
from toolserver.settings import Settings
from toolserver.world.tokens import world_codec


def call(client: httpx.Client, state: str) -> dict[str, Any]:
    """The answer to a booking in the episode of `state`."""
    answer: dict[str, Any] = client.post("/v1/call", json=as_request(GOOD._replace(state=state))).json()
    return answer


def test_a_server_takes_no_token_of_another_key_and_says_what_to_do() -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(TestClient(create_app(Settings(world=0)))) for _ in range(2))
        booked = call(first, GOOD.state)
        assert call(first, booked["state"])["outcome"] != "forbidden"
        for client, token in ((second, booked["state"]), (first, BOOKED), (second, BOOKED)):
            refused = call(client, token)
            assert (refused["outcome"], refused["provenance"], refused["state"]) == ("forbidden", "service", token)
            assert "TOOLSERVER_STATE_KEY" in refused["body"]


def test_the_key_changes_no_byte_that_a_policy_sees() -> None:
    expected, states = in_process(SERVICE, GOOD), set()
    for _ in range(2):
        with TestClient(create_app(Settings(world=0))) as client:
            answer = call(client, GOOD.state)
        states.add(answer.pop("state"))
        assert answer == {name: value for name, value in expected.items() if name != "state"}
    assert len(states) == 2


def test_servers_with_one_key_share_episodes() -> None:
    settings = Settings(world=0, state_key=SecretStr("the key of both servers"))
    with TestClient(create_app(settings)) as first, TestClient(create_app(settings)) as second:
        booked = call(first, GOOD.state)["state"]
        assert call(first, booked) == call(second, booked)
        assert call(second, booked)["outcome"] != "forbidden"


@pytest.mark.parametrize("key", ["", "short"])
def test_a_key_that_can_be_guessed_is_refused(key: str) -> None:
    """A variable that is set and empty, as a compose file writes it, is not a missing one."""
    command = [sys.executable, "-m", "toolserver.cli", "serve", "--world", "0", "--port", "0"]
    environment = os.environ | {"TOOLSERVER_STATE_KEY": key}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert "state_key: has fewer than 16 characters" in run.stderr
    assert "TOOLSERVER_STATE_KEY" in run.stderr
    assert not run.stdout


def test_a_service_in_process_has_the_public_key() -> None:
    assert SERVICE.codec is not None
    state = world_codec(VENDORS).read(BOOKED)
    assert SERVICE.codec.write(state) == BOOKED


@pytest.mark.parametrize("key", ["", "the key of both servers"], ids=["random", "given"])
def test_workers_share_the_key_and_a_random_one_is_reported(key: str) -> None:
    environment = {"TOOLSERVER_STATE_KEY": key} if key else {}
    with command_line("--world", "0", "--workers", "2", **environment) as (client, output):
        booked = call(client, GOOD.state)["state"]
        answers = [json.dumps(call(client, booked)) for _ in range(24)]
        assert len(set(answers)) == 1
        assert "forbidden" not in answers[0]
        assert call(client, BOOKED)["outcome"] == "forbidden"
    assert ("TOOLSERVER_STATE_KEY" in output[0]) is (not key)
