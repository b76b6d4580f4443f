"""An environment and a server of another world or version refuse each other at the first call."""

import json
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.client import API_KEY_VARIABLE, HttpToolClient
from steptool_env.envs.toolworld import ToolWorldEnv
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.suites.server_match import ServerMatch
from tests.steptool_env.client.test_client import CALL, Scripted, client_for, good, scripted
from toolserver.service.info import package_version
from toolserver.testing import ServerProcess

FIELDS = {"version": "1", "seed": 0, "level": "lite", "world_version": 1, "vendors": 9, "digest": "ab"}
INFO = {**FIELDS, "kind": "world", "miss": "strict"}
WORLD = ServerMatch(("world", "both"), FIELDS)
RECORDED = ServerMatch(("recorded", "both"), {"version": "1"}, optional=True)


class InfoServer(Scripted):
    """Answers `GET` with the server's info."""

    def get(self) -> None:
        self.server.asked = [*getattr(self.server, "asked", []), (self.path, dict(self.headers))]
        self.reply(*self.server.info)


class Suite:
    def __init__(self, match: ServerMatch) -> None:
        self.server_match = match


def requests_of(info: Any, match: ServerMatch, status: int = 200, calls: int = 2) -> list[Any]:
    """Return the requests for `/v1/info` of a client of `match` that sends `calls` requests."""
    content = info if isinstance(info, bytes) else json.dumps(info).encode()
    with scripted(good(1), handler=InfoServer) as server, client_for(server, suite=Suite(match)) as (client, _):
        server.info = status, content
        for _ in range(calls):
            client.call_many([CALL])
        assert len(server.requests) == calls
        asked: list[Any] = server.asked
        return asked


def test_the_server_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "a-key")
    ((path, headers),) = requests_of(INFO, WORLD)
    assert (path, headers["authorization"]) == ("/v1/info", "Bearer a-key")
    assert len(requests_of({**INFO, "kind": "both"}, WORLD)) == 1
    assert len(requests_of({**INFO, "kind": "recorded", "seed": None}, RECORDED)) == 1


@pytest.mark.parametrize(
    ("field", "theirs", "remedy"),
    [
        ("version", "2", "install one version"),
        ("kind", "recorded", "--world SEED"),
        ("seed", 1, r"--world 0, or make the environment with world_seed=1"),
        ("level", "full", r"--world-level lite, or make the environment with level='full'"),
        ("world_version", 2, r"--world-version 1, or make the environment with world_version=2"),
        ("vendors", 20, r"TOOLSERVER_WORLD_TOOLS=9, or make the environment with tools=20"),
        ("digest", "cd", "run the same code"),
    ],
)
def test_a_difference_names_field_values_and_remedy(field: str, theirs: Any, remedy: str) -> None:
    ours = "world or both" if field == "kind" else INFO[field]
    with pytest.raises(ConfigurationError, match=f"{field} is {theirs!r}, this environment's is {ours!r}; .*{remedy}"):
        requests_of({**INFO, field: theirs}, WORLD)


def test_recordings_do_not_come_from_a_world() -> None:
    with pytest.raises(ConfigurationError, match="--cache"):
        requests_of(INFO, RECORDED)


def test_a_server_without_info_serves_recordings_and_no_world() -> None:
    """Another implementation of StableToolBench's protocol does not have it."""
    assert len(requests_of(b"not here", RECORDED, status=404)) == 1
    with pytest.raises(ConfigurationError, match=r"no /v1/info.*version"):
        requests_of(b"not here", WORLD, status=404)


def test_what_is_no_info_loses_the_call() -> None:
    with pytest.raises(ToolTransportError, match="did not answer as a tool server does: /v1/info is"):
        requests_of(b"<html>", WORLD)
    with pytest.raises(ToolTransportError, match="HTTP 401"):
        requests_of(b"", WORLD, status=401)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ServerProcess(["--world", "0", "--world-level", "lite"]) as process:
        yield process.url


def first_call(**arguments: Any) -> dict[str, Any]:
    with closing(ToolWorldEnv(**arguments)) as env:
        _, info = env.reset(seed=0)
        return env.step(f"Action: {info['functions'][0]['name']}\nAction Input: {{}}")[4]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"world_seed": 1}, "seed is 0, this environment's is 1"),
        ({"level": "standard"}, "level is 'lite'"),
        ({"tools": 20}, "vendors is 320"),
    ],
)
def test_a_server_of_another_world_is_refused_at_the_first_call(
    server: str, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        first_call(server_url=server, **arguments)
    envs = gym.make_vec("StepTool/ToolWorld-v0", num_envs=2, server_url=server, **arguments)
    _, infos = envs.reset(seed=0)
    with pytest.raises(ConfigurationError, match=says):
        envs.step([f"Action: {functions[0]['name']}\nAction Input: {{}}" for functions in infos["functions"]])
    envs.close()


def test_a_server_of_this_world_is_taken_and_checked(server: str) -> None:
    assert "transport_error" not in first_call(server_url=server)
    env = ToolWorldEnv(server_url=server, world_seed=1)
    assert isinstance(env.client, HttpToolClient)
    with pytest.raises(ConfigurationError, match="seed"):
        env.client.check()
    with pytest.raises(ConfigurationError, match="seed"):
        pickle.loads(pickle.dumps(env.client)).call_many([CALL])
    env.close()


def test_a_server_that_came_back_with_another_world_is_refused_before_its_answers_are_used() -> None:
    with ServerProcess(["--world", "0", "--world-level", "lite"]) as first:
        other = ServerProcess(["--world", "1", "--world-level", "lite"], port=int(first.url.rsplit(":", 1)[1]))
        with closing(ToolWorldEnv(server_url=first.url)) as env:
            _, info = env.reset(seed=0)
            action = f"Action: {info['functions'][0]['name']}\nAction Input: {{}}"
            env.step(action)
            os.kill(first.pid, signal.SIGKILL)
            first.close()
            env.client._retries._sleep = lambda _: other.__enter__()  # type: ignore[attr-defined]
            try:
                with pytest.raises(ConfigurationError, match="seed is 1, this environment's is 0"):
                    env.step(action)
            finally:
                other.close()


def test_an_episode_whose_state_the_server_refuses_is_lost_and_not_scored() -> None:
    """Its tokens are of a server with another key, as after a restart with another setting."""
    served = ["--world", "0", "--world-level", "lite"]
    with ServerProcess(served, settings={"state_key": "one key of a server"}) as first:
        port = int(first.url.rsplit(":", 1)[1])
        other = ServerProcess(served, settings={"state_key": "another key of it"}, port=port)
        with closing(ToolWorldEnv(server_url=first.url)) as env:
            _, info = env.reset(seed=0)
            action = f"Action: {info['functions'][0]['name']}\nAction Input: {{}}"
            env.step(action)
            first.close()
            with other:
                *_, truncated, info = env.step(action)
                assert truncated
                assert "State token refused" in info["transport_error"]
                assert "outcome" not in info
                env.reset(seed=0)
                assert "transport_error" not in env.step(action)[4]


def test_a_server_of_another_version_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ToolWorldEnv(server_url=server)
    match = env.suite.server_match  # type: ignore[attr-defined]
    assert match.fields["version"] == package_version()
    other = ServerMatch(match.kinds, {**match.fields, "version": "99.0"})
    monkeypatch.setattr(type(env.suite), "server_match", other)
    env.reset(seed=0)
    with pytest.raises(ConfigurationError, match=r"version is '.*', this environment's is '99\.0'"):
        env.client.call_many([CALL])
    env.close()
